import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { RuntimeFailure, UsageError } from "../../src/errors.ts";
import { methodsFor } from "../../src/model/merge_methods.ts";
import { findModules } from "../../src/lora/modules.ts";
import type { MergeMethod } from "../../src/lora/merge/mod.ts";
import { int } from "../../src/graph/attributes.ts";
import { float32 } from "../../src/graph/tensor.ts";
import type { Model } from "../../src/graph/types.ts";
import { bnb4Attributes } from "../helpers/codebook_model.ts";
import { tinyModel } from "../helpers/ort.ts";

/** A layer of 4 bits. */
const BASE = tinyModel({
  inputs: { x: ["float32", ["n", 32]] },
  outputs: { y: ["float32", ["n", 16]] },
  nodes: [[
    "com.microsoft.MatMulNBits",
    ["x", "w", "s"],
    ["y"],
    { K: int(32), N: int(16), bits: int(4), block_size: int(32) },
  ]],
  initializers: {
    w: { dtype: "uint8", dims: [16, 1, 16], bytes: new Uint8Array(256) },
    s: float32([16], new Array(16).fill(0.1)),
  },
});

/** A layer of a codebook. */
const CODED = tinyModel({
  inputs: { x: ["float32", ["n", 32]] },
  outputs: { y: ["float32", ["n", 16]] },
  nodes: [["com.microsoft.MatMulBnb4", ["x", "w", "s"], ["y"], bnb4Attributes(16, 32, "nf4", 32)]],
  initializers: {
    w: { dtype: "uint8", dims: [256], bytes: new Uint8Array(256) },
    s: float32([16], new Array(16).fill(0.1)),
  },
});

interface Asked {
  readonly base?: Model;
  readonly method?: MergeMethod;
  readonly measured?: boolean;
  readonly tunes?: boolean;
  readonly allowLarger?: boolean;
}

function methods(version: readonly [number, number, number], request: Asked = {}) {
  const notes: string[] = [];
  const { base = BASE } = request;
  const changes = findModules(base).map(({ path }) => ({ path, updates: [] }));
  const found = methodsFor(
    { version },
    { base, measured: true, onNote: (note) => notes.push(note), ...request },
    { changes },
  );
  return { found, notes };
}

Deno.test("methodsFor() merges adapters of scales as they are, and refuses to round them", () => {
  const change = { rank: 1, scale: 1, loraA: [1], loraB: [1] };
  const changes = findModules(BASE).map(({ path }) => ({
    path,
    updates: [],
    scaleUpdates: [change],
  }));
  const of = (method?: MergeMethod) =>
    methodsFor({ version: [1, 30, 0] }, { base: BASE, method, measured: true, tunes: true }, {
      changes,
    });
  assertEquals(of(), ["scales"]);
  assertThrows(() => of("8bit"), UsageError, "merged exactly, without rounding");
});

Deno.test("methodsFor() keeps the base's bits: 8 bits only where larger files are allowed", () => {
  assertEquals(methods([1, 22, 0]), { found: ["nearest", "compensated"], notes: [] });
  assertEquals(methods([1, 22, 0], { tunes: true }).found, ["nearest", "tuned", "compensated"]);
  const larger = { tunes: true, allowLarger: true };
  assertEquals(methods([1, 22, 0], larger).found, ["nearest", "tuned", "compensated", "8bit"]);
  assertEquals(methods([1, 30, 0], { measured: false, allowLarger: true }).found, ["8bit"]);
});

Deno.test("methodsFor() refuses to round 4 bits without data, naming what would be safe", () => {
  assertThrows(
    () => methods([1, 30, 0], { measured: false }),
    UsageError,
    "rounding to 4 bits may lose what was trained, which only data shows: name the training data " +
      "with data, or choose method: nearest, allowLarger or method: float",
  );
});

Deno.test("methodsFor() leaves 8 bits out on a release that cannot run them, and says so", () => {
  const { found, notes } = methods([1, 21, 1], { allowLarger: true });
  assertEquals(found, ["nearest", "compensated"]);
  assertEquals(notes.length, 1);
  assertStringIncludes(notes[0], "at 8 bits: MatMulNBits has them since ONNX Runtime 1.22.0");
  assertStringIncludes(notes[0], "current value is 1.21.1");
});

Deno.test("methodsFor() refuses 8 bits on such a release where they are asked for or the only safe way", () => {
  const message = "choose another method, or point ortLib or GRAFT_ORT_LIB at a later release";
  assertThrows(() => methods([1, 18, 0], { method: "8bit" }), RuntimeFailure, message);
  const unmeasured = { measured: false, allowLarger: true };
  assertThrows(() => methods([1, 18, 0], unmeasured), RuntimeFailure, message);
  assertEquals(methods([1, 18, 0], { method: "nearest", measured: false }).found, ["nearest"]);
});

Deno.test("methodsFor() keeps a codebook's 4 bits, and refuses what would need more or may lose all", () => {
  const version = [1, 30, 0] as const;
  assertEquals(methods(version, { base: CODED }).found, ["nearest", "compensated"]);
  assertThrows(
    () => methods(version, { base: CODED, method: "8bit" }),
    UsageError,
    "MatMulBnb4 has nf4 in 4 bits only",
  );
  assertThrows(
    () => methods(version, { base: CODED, measured: false }),
    UsageError,
    "name the training data with data, or choose method: nearest, or method: float",
  );
  const asked = { base: CODED, method: "nearest", measured: false } as const;
  assertEquals(methods(version, asked).found, ["nearest"]);
});

Deno.test("methodsFor() refuses error compensation and tuning without data", () => {
  for (const method of ["compensated", "tuned"] as const) {
    assertThrows(
      () => methods([1, 30, 0], { method, measured: false }),
      UsageError,
      "needs the training data",
    );
  }
});
