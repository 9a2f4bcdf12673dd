import { assert, assertEquals, assertThrows } from "@std/assert";
import { BadInputError } from "../../src/errors.ts";
import { digestOf } from "../../src/lora/digest.ts";
import { float32, type Tensor, toNumbers } from "../../src/graph/tensor.ts";
import {
  type Checkpoint,
  decodeCheckpoint,
  differences,
  encodeCheckpoint,
} from "../../src/train/checkpoint.ts";
import { initialState } from "../../src/train/state.ts";

const CHECKPOINT: Checkpoint = {
  state: { ...initialState(3), step: 12, position: { epoch: 1, batchIndex: 4 }, tokens: 999 },
  parameters: new Map([["b", float32([2], [1, 2])], ["a", float32([], [3])]]),
  optimizer: {
    updates: 11,
    moments: new Map([["a.m", float32([], [0.5])]]),
    previous: new Map([["a", float32([], [2.5])]]),
  },
  best: new Map([["a", float32([], [4])]]),
};
const IDENTITY = { seed: 3, data_digest: "abc" };

const plain = (tensors: ReadonlyMap<string, Tensor>) =>
  Object.fromEntries([...tensors].map(([name, t]) => [name, [t.dims, [...toNumbers(t)]]]));

/** A checkpoint's files as they are read from the disk. */
function filesOf(checkpoint: Checkpoint): Map<string, Uint8Array> {
  return new Map(
    [...encodeCheckpoint(checkpoint, IDENTITY)].map(([name, parts]) => [
      name,
      Uint8Array.from(parts.flatMap((part) => [...part])),
    ]),
  );
}

Deno.test("decodeCheckpoint() reads back what encodeCheckpoint() wrote", () => {
  const { checkpoint, identity } = decodeCheckpoint(filesOf(CHECKPOINT));
  assertEquals(identity, IDENTITY);
  assertEquals(checkpoint.state, CHECKPOINT.state);
  assertEquals(plain(checkpoint.parameters), plain(CHECKPOINT.parameters));
  assertEquals(checkpoint.optimizer.updates, 11);
  assertEquals(plain(checkpoint.optimizer.moments), plain(CHECKPOINT.optimizer.moments));
  assertEquals(plain(checkpoint.optimizer.previous!), plain(CHECKPOINT.optimizer.previous!));
  assertEquals(plain(checkpoint.best!), plain(CHECKPOINT.best!));
});

Deno.test("encodeCheckpoint() gives the same bytes for the same state", () => {
  const [one, two] = [0, 0].map(() => filesOf(CHECKPOINT));
  assertEquals([...one], [...two]);
});

Deno.test("encodeCheckpoint() copies no tensor", () => {
  const parts = [...encodeCheckpoint(CHECKPOINT, IDENTITY).values()].flat();
  const { parameters, optimizer: { moments, previous }, best } = CHECKPOINT;
  for (const tensors of [parameters, moments, previous!, best!]) {
    for (const { bytes } of tensors.values()) assert(parts.includes(bytes));
  }
});

Deno.test("decodeCheckpoint() refuses a changed byte in any file, naming the file", () => {
  const files = filesOf(CHECKPOINT);
  for (const [name, bytes] of files) {
    if (name === "manifest.json") continue;
    const changed = bytes.slice();
    changed[changed.length >> 1] ^= 1;
    assertThrows(
      () => decodeCheckpoint(new Map(files).set(name, changed)),
      BadInputError,
      `${name} is not what manifest.json says`,
    );
  }
});

Deno.test("decodeCheckpoint() refuses a file that is cut or missing, naming it", () => {
  const files = filesOf(CHECKPOINT);
  for (const [name, bytes] of files) {
    const cut = new Map(files).set(name, bytes.subarray(0, bytes.length - 3));
    assertThrows(() => decodeCheckpoint(cut), BadInputError, name);
    const without = new Map(files);
    without.delete(name);
    assertThrows(() => decodeCheckpoint(without), BadInputError, `${name} is missing`);
  }
});

/** Replaces a JSON file of a checkpoint, and where it is not the manifest what that says of it. */
function withJson(name: string, change: (value: Record<string, unknown>) => unknown) {
  const files = filesOf(CHECKPOINT);
  const json = (name: string) => JSON.parse(new TextDecoder().decode(files.get(name)));
  const put = (name: string, value: unknown) =>
    files.set(name, new TextEncoder().encode(JSON.stringify(value)));
  put(name, change(json(name)));
  if (name === "manifest.json") return files;
  const manifest = json("manifest.json");
  manifest.files[name] = { digest: digestOf(files.get(name)!) };
  return put("manifest.json", manifest);
}

Deno.test("decodeCheckpoint() refuses a manifest that does not name every file", () => {
  const { files: all } = JSON.parse(
    new TextDecoder().decode(filesOf(CHECKPOINT).get("manifest.json")),
  );
  for (const files of [undefined, null, [], "all", 3]) {
    const changed = withJson("manifest.json", (manifest) => ({ ...manifest, files }));
    assertThrows(() => decodeCheckpoint(changed), BadInputError, "manifest.json has no list");
  }
  for (const name of Object.keys(all)) {
    const files = Object.fromEntries(Object.entries(all).filter(([key]) => key !== name));
    const changed = withJson("manifest.json", (manifest) => ({ ...manifest, files }));
    assertThrows(() => decodeCheckpoint(changed), BadInputError, `${name} is not in manifest.json`);
  }
  const empty = withJson("manifest.json", (manifest) => ({ ...manifest, files: {} }));
  assertThrows(() => decodeCheckpoint(empty), BadInputError, "is not in manifest.json");
  for (const entry of [null, {}, "sha256:1", { digest: null }]) {
    const files = { ...all, "state.json": entry };
    const changed = withJson("manifest.json", (manifest) => ({ ...manifest, files }));
    assertThrows(() => decodeCheckpoint(changed), BadInputError, "state.json is not what");
  }
});

Deno.test("decodeCheckpoint() refuses a state without what a resume compares and goes on from", () => {
  for (const key of ["identity", "state", "updates"]) {
    const changed = withJson("state.json", (state) => ({ ...state, [key]: null }));
    assertThrows(() => decodeCheckpoint(changed), BadInputError, "state.json has no identity");
  }
});

Deno.test("decodeCheckpoint() refuses another format version", () => {
  const files = filesOf(CHECKPOINT);
  const manifest = new TextDecoder().decode(files.get("manifest.json"));
  files.set(
    "manifest.json",
    new TextEncoder().encode(manifest.replace('"format_version": 1', '"format_version": 99')),
  );
  assertThrows(() => decodeCheckpoint(files), BadInputError, "current value is 99");
});

Deno.test("differences() names each setting that changed, with both values", () => {
  assertEquals(differences(IDENTITY, IDENTITY), []);
  assertEquals(differences(IDENTITY, { seed: 4, batch_size: 8 }), [
    "seed was 3: current value is 4",
    "data_digest was abc: current value is unset",
    "batch_size was unset: current value is 8",
  ]);
  const other = JSON.parse('{"toString": 1}');
  assertEquals(differences(other, {}), ["toString was 1: current value is unset"]);
});
