"""Groups of rows that show or say the same thing; one way of finding them a file.

A grouping is int64 (n,): each row holds the smallest row position of its group, so a row that
is like no other holds its own. Groups are closed under "like": a is with c if both are like b.
"""
