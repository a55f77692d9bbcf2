"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const items = data.items;
  const WORDS = ["wrong", "right", "unsure"];
  const at = (id) => document.getElementById(id);
  const storageKey = "dataprune.audit." + data.id;
  const placeOf = new Map(items.map((item, place) => [item.row, place]));
  const verdicts = new Map(); // row -> word
  const done = []; // for undo: [place, the word before]
  let current = 0;
  const unkept = new Set(); // rows whose verdict the browser has yet to keep
  let isKept = true; // whether the browser keeps verdicts
  let isSaved = true; // whether all are in a file

  // Foreign text comes into the document here, as text.
  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  const isolated = (text) => element("bdi", text);

  // Verdicts as a file

  function asFile() {
    const judged = items.filter((item) => verdicts.has(item.row));
    return {
      format: "dataprune.verdicts",
      format_version: 1,
      audit: data.id,
      flags_sha256: data.flags_sha256,
      draw: data.draw,
      verdicts: judged.map((item) => ({ row: item.row, verdict: verdicts.get(item.row) })),
    };
  }

  // What is wrong with a file, or null once its verdicts are taken in.
  function takeFile(file) {
    if (!file || file.format !== "dataprune.verdicts" || !Array.isArray(file.verdicts)) {
      return "This is not a file of verdicts.";
    }
    const draw = file.draw || {};
    const isSame = file.flags_sha256 === data.flags_sha256
      && draw.tier === data.draw.tier && draw.seed === data.draw.seed;
    if (!isSame) return "These are verdicts of other flags, or of another draw.";
    for (const entry of file.verdicts) {
      if (!entry || !placeOf.has(entry.row)) return "It has a row that was not drawn here.";
      if (!WORDS.includes(entry.verdict)) return "It has a verdict that is none.";
    }
    for (const entry of file.verdicts) verdicts.set(entry.row, entry.verdict);
    return null;
  }

  // Verdicts in the browser: a key for each row, so that of two tabs none overwrites the other's rows.

  function keyOf(row) {
    return storageKey + "." + row;
  }

  function keep(rows) {
    for (const row of rows) unkept.add(row);
    try {
      localStorage.setItem(storageKey, ""); // whether it takes anything
      for (const row of [...unkept]) {
        if (verdicts.has(row)) localStorage.setItem(keyOf(row), verdicts.get(row));
        else localStorage.removeItem(keyOf(row));
        unkept.delete(row);
      }
      isKept = true;
    } catch (error) {
      isKept = false;
    }
    at("kept").textContent = isKept
      ? "Verdicts are kept in this browser until you clear its data; a file is safer."
      : "This browser does not keep verdicts for this page: save before you close it.";
  }

  // What is no verdict was not written by this page.
  function take(row, word) {
    if (WORDS.includes(word)) verdicts.set(row, word);
    else verdicts.delete(row);
  }

  function restore() {
    try {
      for (const { row } of items) {
        if (!unkept.has(row)) take(row, localStorage.getItem(keyOf(row)));
      }
    } catch (error) {
      isKept = false;
    }
  }

  // Another tab kept or undid a verdict: it is the latest, and no longer this tab's to undo.
  function follow(event) {
    const place = items.findIndex((item) => keyOf(item.row) === event.key);
    if (place < 0) return;
    unkept.delete(items[place].row);
    take(items[place].row, event.newValue);
    done.splice(0, done.length, ...done.filter(([where]) => where !== place));
    mark();
  }

  function save() {
    const text = JSON.stringify(asFile(), null, 2) + "\n";
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = element("a");
    link.href = url;
    link.download = "verdicts.json";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    isSaved = true;
    say("Saved " + verdicts.size + " verdicts as verdicts.json.");
  }

  async function load(input) {
    const file = input.files[0];
    if (!file) return;
    let problem, loaded;
    try {
      loaded = JSON.parse(await file.text());
      problem = takeFile(loaded);
    } catch (error) {
      problem = "This is not JSON; it may be cut short.";
    }
    input.value = "";
    if (problem === null) {
      done.length = 0;
      keep(loaded.verdicts.map((entry) => entry.row));
      show(firstOpen());
      say("Loaded. " + told());
    } else {
      say("Not loaded. " + problem);
    }
  }

  // Moving and judging

  function firstOpen() {
    const place = items.findIndex((item) => !verdicts.has(item.row));
    return place < 0 ? items.length - 1 : place;
  }

  function judge(word) {
    const row = items[current].row;
    done.push([current, verdicts.get(row)]);
    verdicts.set(row, word);
    isSaved = false;
    keep([row]);
    say(verdicts.size === items.length ? "All are judged: save them." : "");
    show(Math.min(current + 1, items.length - 1));
  }

  function undo() {
    if (!done.length) return;
    const [place, before] = done.pop();
    if (before === undefined) verdicts.delete(items[place].row);
    else verdicts.set(items[place].row, before);
    isSaved = false;
    keep([items[place].row]);
    say("");
    show(place);
  }

  function move(by) {
    show(Math.max(0, Math.min(items.length - 1, current + by)));
  }

  // Showing

  function say(text) {
    at("said").textContent = text;
  }

  function told() {
    const places = items.map((item, place) => (verdicts.has(item.row) ? place : -1));
    const skipped = Math.max(...places) + 1 - verdicts.size;
    const judged = verdicts.size + " of " + items.length + " judged";
    return skipped ? judged + ", " + skipped + " skipped" : judged;
  }

  function show(place) {
    current = place;
    const item = items[place];
    const key = item.key === null ? "" : ", " + item.key;
    at("place").replaceChildren(
      "Example " + (place + 1) + " of " + items.length + ", row " + item.row, isolated(key));
    const label = element("q");
    label.append(isolated(item.given));
    at("question").replaceChildren("Is the label ", label, " wrong?");
    at("given").replaceChildren(isolated(item.given));
    const isSame = item.given === item.suggested;
    at("suggested").replaceChildren(isolated(item.suggested), isSame ? " (the same)" : "");
    at("input").replaceChildren(shown(item));
    at("details").open = false;
    at("evidence").replaceChildren(...evidence(item));
    at("back").disabled = place === 0;
    at("next").disabled = place === items.length - 1;
    mark();
    if (at("card").getBoundingClientRect().top < 0) window.scrollTo(0, 0);
  }

  // All that verdicts change, and nothing else: the example that somebody looks at stays as it is.
  function mark() {
    for (const button of document.querySelectorAll("#verdicts button")) {
      const isPressed = button.dataset.verdict === verdicts.get(items[current].row);
      button.setAttribute("aria-pressed", String(isPressed));
    }
    at("undo").disabled = done.length === 0;
    at("bar").max = items.length;
    at("bar").value = verdicts.size;
    at("status").textContent = told();
    strip();
  }

  function shown(item) {
    const input = item.input;
    if (input === null) {
      return element("p", "Look up row " + item.row + " in your data: its input is not here.", "notice");
    }
    if (input.kind === "image") return image(item);
    if (input.kind === "text") {
      const text = element("pre", input.text, "text");
      text.tabIndex = 0;
      text.dir = "auto";
      return text;
    }
    if (input.kind === "numbers") return numbers(input);
    return element("p", "The input cannot be shown: " + input.why + ".", "notice");
  }

  function image(item) {
    const made = element("img");
    made.alt = "Input of row " + item.row;
    made.addEventListener("load", () => {
      const side = Math.max(made.naturalWidth, made.naturalHeight);
      if (side > 160) return;
      const times = Math.floor(320 / side);
      made.width = made.naturalWidth * times;
      made.height = made.naturalHeight * times;
      made.className = "small";
    });
    made.addEventListener("error", () => {
      made.replaceWith(element("p", "This image cannot be shown: it is damaged.", "notice"));
    });
    made.src = item.input.src;
    return made;
  }

  function numbers(input) {
    const table = element("table");
    for (const [name, value] of input.values) {
      const row = element("tr");
      const head = element("th", name);
      head.scope = "row";
      row.append(head, element("td", value));
      table.append(row);
    }
    const box = element("div", undefined, "numbers");
    box.tabIndex = 0;
    box.append(table);
    if (input.more) box.append(element("p", "and " + input.more + " more", "notice"));
    return box;
  }

  function evidence(item) {
    const shares = [
      ["Probability that the label is wrong", item.label_q],
      ["Margin of held-out votes", item.oof_margin],
      ["Share of votes against the label", item.oof_vote_frac],
      ["Tier", item.tier],
    ];
    return shares.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", String(value)));
      return pair;
    });
  }

  function strip() {
    [...at("strip").children].forEach((entry, place) => {
      const button = entry.firstChild;
      const item = items[place];
      const word = verdicts.get(item.row);
      button.textContent = (place + 1) + (word ? " " + word[0].toUpperCase() : "");
      button.setAttribute("aria-label",
        "Example " + (place + 1) + ", row " + item.row + ": " + (word || "not judged"));
      if (word) button.dataset.verdict = word;
      else delete button.dataset.verdict;
      if (place === current) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
  }

  // Wiring

  const keys = {
    w: () => judge("wrong"),
    r: () => judge("right"),
    u: () => judge("unsure"),
    j: () => move(1),
    k: () => move(-1),
    ArrowRight: () => move(1),
    ArrowLeft: () => move(-1),
    z: undo,
    s: save,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  for (const button of document.querySelectorAll("#verdicts button")) {
    button.addEventListener("click", () => judge(button.dataset.verdict));
  }
  at("back").addEventListener("click", () => move(-1));
  at("next").addEventListener("click", () => move(1));
  at("undo").addEventListener("click", undo);
  at("save").addEventListener("click", save);
  at("load").addEventListener("change", (event) => load(event.target));
  window.addEventListener("storage", follow);
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return; // a page that was asleep heard of nothing
    restore();
    mark();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isSaved && !isKept) event.preventDefault();
  });

  items.forEach((item, place) => {
    const entry = element("li");
    const button = element("button");
    button.type = "button";
    button.addEventListener("click", () => show(place));
    entry.append(button);
    at("strip").append(entry);
  });
  at("command").textContent = data.command;
  at("unproven").hidden = !data.unproven;
  at("unproven").textContent = data.unproven || "";
  restore();
  keep([]);
  show(firstOpen());
})();
