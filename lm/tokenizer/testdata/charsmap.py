"""Builds precompiled_charsmap blobs, as SentencePiece stores them: a Darts-clone
double-array trie from byte strings to places in a text of strings that end with NUL."""

import base64
import json
import struct


def charsmap(pairs):
    """The blob of a map from strings to strings."""
    normalized, places = b"", {}
    for key, value in pairs.items():
        places[key.encode()] = len(normalized)
        normalized += value.encode() + b"\0"
    root = {}
    for key, place in places.items():
        node = root
        for byte in key:
            node = node.setdefault(byte, {})
        node[None] = place
    units, used, first = {0: 0}, {0}, 1
    queue = [(0, root)]
    while queue:
        at, node = queue.pop()
        labels = [c for c in node if c is not None]
        slots = labels + [0] * (None in node)
        base = first
        while any(base ^ c in used for c in slots):
            base += 1
        used.update(base ^ c for c in slots)
        while first in used:
            first += 1
        offset = at ^ base
        assert offset < 1 << 21
        units[at] |= offset << 10
        if None in node:
            units[at] |= 1 << 8
            units[base] = 1 << 31 | node[None]
        for c in labels:
            units[base ^ c] = c
            queue.append((base ^ c, node[c]))
    size = (max(units) | 255) + 1
    trie = struct.pack("<%dI" % size, *(units.get(i, 1 << 30) for i in range(size)))
    return struct.pack("<I", len(trie)) + trie + normalized


def definition(pairs):
    """The normaliser of a map as a tokenizer.json has it."""
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap(pairs)).decode()}
