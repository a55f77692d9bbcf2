// Reads a published version with @huggingface/hub, which shares no code with the Python client.
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [folder, hubUrl, accessToken, name, revision] = process.argv.slice(2);
const found = createRequire(`${folder}/x.js`).resolve("@huggingface/hub");
const { datasetInfo, downloadFile, listFiles } = await import(pathToFileURL(found));
const repo = { type: "dataset", name };
const fetchUncompressed = (url, init) => fetch(url, init);
const given = { hubUrl, accessToken, revision, fetch: fetchUncompressed };
const files = {};
for await (const entry of listFiles({ repo, recursive: true, ...given })) {
  if (entry.type !== "file") continue;
  const blob = await downloadFile({ repo, path: entry.path, ...given });
  const bytes = Buffer.from(await blob.arrayBuffer());
  files[entry.path] = {
    size: entry.size,
    stated: entry.lfs?.oid ?? null,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}
const info = await datasetInfo({ name, hubUrl, accessToken, revision, additionalFields: ["sha"] });
console.log(JSON.stringify({ sha: info.sha, files }));
