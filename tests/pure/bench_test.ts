import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { formsFor, KERNEL_FORMS, kernelGraph } from "../../src/kernels/kernel_graphs.ts";
import {
  dequantFormOf,
  formatKernelTable,
  gflops,
  integerFormOf,
  integerLead,
  type KernelTable,
  type KernelTiming,
  parseKernelTable,
  slicesAreQuicker,
  withTimings,
} from "../../src/kernels/kernel_table.ts";
import { phaseOf } from "../../src/bench/train_steps.ts";
import { wholeNumbers } from "../../src/cli/bench/bench_flags.ts";
import { formatTable } from "../../src/cli/terminal/table.ts";
import { UsageError } from "../../src/errors.ts";
import { quickestForm } from "../../src/kernels/quickest_form.ts";
import { median } from "../../src/statistics.ts";
import { parseProcessor } from "../../src/system/processor.ts";
import { cacheDirectory } from "../../src/system/cache_directory.ts";

const SOURCE = {
  processor: "A CPU",
  features: "0123",
  threads: 2,
  runtime: "onnxruntime 1.30.0",
  graft: "1.0.0",
};
const SHAPE = { rows: 64, columns: 32, bits: 4, blockSize: 32, tokens: 8 };
const TABLE: KernelTable = {
  ...SOURCE,
  measuredAt: "2026-01-01T00:00:00.000Z",
  timings: [
    { ...SHAPE, form: "dequantize_gather_block", milliseconds: 3 },
    { ...SHAPE, form: "dequantize_arithmetic", milliseconds: 1 },
    { ...SHAPE, form: "u8s8" },
    { ...SHAPE, form: "u8s8", tokens: 9, milliseconds: 4, saturates: true },
    { rows: 4, columns: 4, bits: 8, tokens: 2, form: "dequantize_linear", milliseconds: 0.5 },
  ],
};

Deno.test("median() is the middle value, or the mean of two", () => {
  assertEquals(median([3, 1, 2]), 2);
  assertEquals(median([4, 1, 2, 3]), 2.5);
  assert(Number.isNaN(median([])));
});

Deno.test("quickestForm() compares only what every form was timed on", () => {
  const forms = ["a", "b"] as const;
  const timing = (form: typeof forms[number], product: string, milliseconds: number) => ({
    form,
    product,
    milliseconds,
  });
  assertEquals(quickestForm(forms, []), undefined);
  assertEquals(quickestForm(forms, [timing("a", "x", 1)]), undefined);
  const both = [timing("a", "x", 1), timing("b", "x", 2)];
  assertEquals(quickestForm(forms, both), "a");
  // A product that one form alone was timed on counts for nobody.
  assertEquals(quickestForm(forms, [...both, timing("a", "y", 100)]), "a");
  const more = [timing("a", "z", 9), timing("b", "z", 1)];
  assertEquals(quickestForm(forms, [...both, ...more]), "b");
});

Deno.test("a table of kernels chooses the quickest way to dequantise, and to round activations", () => {
  assertEquals(dequantFormOf(TABLE), "arithmetic");
  assertEquals(dequantFormOf({ ...TABLE, timings: TABLE.timings.slice(1) }), undefined);
  assertEquals(integerFormOf(TABLE), undefined);
  const integers = (u8s8: number, s8s8: number, about: Partial<KernelTiming> = {}) =>
    integerFormOf({
      ...TABLE,
      timings: [
        { ...SHAPE, form: "u8s8", milliseconds: u8s8, ...about },
        { ...SHAPE, form: "s8s8", milliseconds: s8s8 },
      ],
    });
  assertEquals([integers(1, 20), integers(3, 2)], ["u8s8", "s8s8"]);
  assertEquals(integers(1, 20, { saturates: true }), undefined, "the head's are wrong in both");
  const unsigned = { ...SHAPE, form: "u8u8", milliseconds: 2 };
  const saturating = { ...SHAPE, form: "u8s8", milliseconds: 1, saturates: true } as const;
  assertEquals(integerFormOf({ ...TABLE, timings: [saturating, unsigned] }), "u8u8");
  const paired = (milliseconds: number) => ({ ...SHAPE, form: "u8s8_paired", milliseconds });
  for (const [milliseconds, quickest] of [[1, "u8s8_paired"], [3, "u8u8"]] as const) {
    const timings = [saturating, unsigned, paired(milliseconds)];
    assertEquals(integerFormOf({ ...TABLE, timings }), quickest);
  }
  const right = { ...saturating, saturates: undefined };
  assertEquals(
    integerFormOf({ ...TABLE, timings: [right, paired(0.5)] }),
    "u8s8",
    "where nothing saturates, no precision is lost",
  );
  const slow = { ...saturating, milliseconds: 9, saturates: undefined };
  assertEquals(integerFormOf({ ...TABLE, timings: [slow, unsigned] }), "u8s8", "no copies needed");
  assertEquals(integers(1, 20, { milliseconds: undefined }), "s8s8", "no such kernel");
});

Deno.test("a table of kernels tells whether slices of 16 bits are quicker than floats, in the form in use", () => {
  const timings = (u8s8: number, sliced: number, floats: number) => [
    { ...SHAPE, form: "u8s8", milliseconds: u8s8 },
    { ...SHAPE, form: "s8s8", milliseconds: 2 },
    { ...SHAPE, form: "u8s8_sliced", milliseconds: sliced },
    { ...SHAPE, form: "s8s8_sliced", milliseconds: 9 },
    { ...SHAPE, form: "dequantize_linear", milliseconds: floats },
  ];
  const quicker = (timings: KernelTiming[]) => slicesAreQuicker({ ...TABLE, timings });
  assertEquals(quicker(timings(1, 3, 4)), true);
  assertEquals(quicker(timings(1, 5, 4)), false);
  assertEquals(quicker(timings(3, 1, 4)), false, "u8s8 is not the form in use");
  const paired = [
    { ...SHAPE, form: "u8s8_paired", milliseconds: 1 },
    { ...SHAPE, form: "u8u8_sliced", milliseconds: 3 },
    { ...SHAPE, form: "dequantize_linear", milliseconds: 4 },
  ];
  assertEquals(quicker(paired), true, "weights as stored are not paired");
  assertEquals(quicker(timings(1, 3, 4).slice(2)), undefined);
  assertEquals(quicker(timings(1, 3, 4).slice(0, 4)), undefined);
});

Deno.test("a table of kernels tells how far integers are ahead of floats over the same stored weights", () => {
  const lead = (timings: KernelTiming[]) => integerLead({ ...TABLE, timings });
  const timings = [
    { ...SHAPE, form: "u8s8", milliseconds: 2 },
    { ...SHAPE, form: "u8u8", milliseconds: 9 },
    { ...SHAPE, form: "s8s8", milliseconds: 9 },
    { ...SHAPE, form: "fp32_gemm", milliseconds: 3 },
  ];
  assertEquals(lead(timings), 1.5);
  assertEquals(lead(timings.slice(3)), undefined);
  assertEquals(lead(timings.slice(0, 3)), undefined);
});

Deno.test("parseKernelTable() reads back what formatKernelTable() wrote, for its own machine alone", () => {
  const text = formatKernelTable(TABLE);
  assertEquals(parseKernelTable(text, SOURCE), TABLE);
  for (
    const other of [
      { ...SOURCE, processor: "Another" },
      { ...SOURCE, features: "4567" },
      { ...SOURCE, threads: 4 },
      { ...SOURCE, runtime: "onnxruntime 1.32.0" },
      { ...SOURCE, graft: "1.1.0" },
    ]
  ) assertEquals(parseKernelTable(text, other), undefined);
});

Deno.test("parseKernelTable() takes no text that is damaged", () => {
  const text = formatKernelTable(TABLE);
  for (
    const bad of [
      "",
      "null",
      text.slice(0, -20),
      text.replace('"format": 4', '"format": 3'),
      text.replace('"saturates": true', '"saturates": "no"'),
      text.replace('"rows": 64', '"rows": "64"'),
      text.replace('"milliseconds": 3', '"milliseconds": -3'),
      text.replace('"kernels": [', '"kernels": [null,'),
    ]
  ) assertEquals(parseKernelTable(bad, SOURCE), undefined, bad);
});

Deno.test("withTimings() replaces older figures of the same product and form", () => {
  const newer = { ...TABLE.timings[0], milliseconds: 0.25 };
  const other = { ...TABLE.timings[0], tokens: 16, milliseconds: 7 };
  const { timings, measuredAt } = withTimings(TABLE, [newer, other], "now");
  assertEquals(measuredAt, "now");
  assertEquals(timings.length, TABLE.timings.length + 1);
  assertEquals(timings[0], newer);
  assertEquals(timings.at(-1), other);
});

Deno.test("gflops() counts a multiplication and an addition as two", () => {
  const timing = { ...SHAPE, form: "u8s8", rows: 1000, columns: 1000, tokens: 1000 };
  assertAlmostEquals(gflops({ ...timing, milliseconds: 2000 })!, 1);
  assertEquals(gflops(timing), undefined);
});

Deno.test("kernelGraph() makes a product of the right shape in every form, weights as inputs", () => {
  for (const blockSize of [32, undefined]) {
    const shape = { rows: 64, columns: 96, bits: 8, blockSize };
    for (const form of formsFor(shape)) {
      const graph = kernelGraph(form, shape, 5);
      assertEquals(graph.outputs[0].type?.shape, [5, 64], form.name);
      const large = [...graph.initializers.values()].filter(({ bytes }) => bytes.length > 4096);
      assertEquals(large, [], form.name);
    }
  }
  const measured = [32, undefined].flatMap((blockSize) =>
    formsFor({ rows: 1, columns: 1, bits: 8, blockSize })
  );
  assertEquals(new Set(measured), new Set(KERNEL_FORMS));
});

Deno.test("kernelGraph() dequantises blocks by the operators of each form", () => {
  const shape = { rows: 64, columns: 96, bits: 4, blockSize: 32 };
  const operators = (name: string) => {
    const form = formsFor(shape).find((form) => form.name === name)!;
    return kernelGraph(form, shape, 5).nodes.map(({ opType }) => opType);
  };
  assert(operators("dequantize_gather_block").includes("GatherBlockQuantized"));
  assert(operators("dequantize_arithmetic").includes("DequantizeLinear"));
});

Deno.test("phaseOf() sorts a plan's calls and the optimiser's", () => {
  const phases = {
    "prologue": "forward",
    "forward to x": "forward",
    "head, chunk 3": "head",
    "head, cotangent": "head",
    "loss and its gradient": "head",
    "backward from x": "backward",
    "gradient norm": "optimizer",
    "adamw": "optimizer",
  };
  for (const [label, phase] of Object.entries(phases)) assertEquals(phaseOf(label), phase, label);
});

Deno.test("wholeNumbers() reads a list, and names what is none", () => {
  assertEquals(wholeNumbers("--rank", ["4", "16"], 1), [4, 16]);
  assertEquals(wholeNumbers("--num-layers", ["-1"], -1), [-1]);
  for (const bad of [["0"], ["2.5"], ["x"], [""], []]) {
    assertThrows(() => wholeNumbers("--rank", bad, 1), UsageError, "--rank");
  }
});

Deno.test("formatTable() puts numbers to the right under their headings", () => {
  const rows = [{ name: "short", value: 1.23456 }, { name: "a longer one", value: 123456 }, {
    name: "none",
    value: undefined,
  }];
  const lines = formatTable(rows, [
    { heading: "name", cell: ({ name }) => name },
    { heading: "value", cell: ({ value }) => value },
  ]);
  assertEquals(lines, [
    "name           value",
    "short          1.235",
    "a longer one  123456",
    "none               -",
  ]);
});

Deno.test("parseProcessor() names processors of x86 and of ARM, and tells instruction sets apart", () => {
  const x86 = "processor\t: 0\nmodel name\t: Some CPU @ 2GHz\nflags\t\t: fpu avx2\n";
  const arm = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd0b\n";
  assertEquals(parseProcessor(x86).name, "Some CPU @ 2GHz");
  assertEquals(parseProcessor(arm).name, "ARM 0x41 0xd0b");
  assertEquals(parseProcessor("").name, "unknown");
  const more = parseProcessor(x86.replace("avx2", "avx2 amx_int8"));
  assert(more.features !== parseProcessor(x86).features);
});

Deno.test("parseProcessor() counts cores, not the threads that share one", () => {
  const x86 = (cores: readonly (readonly [socket: number, core: number])[]) =>
    cores.map(([socket, core], i) =>
      `processor\t: ${i}\nphysical id\t: ${socket}\ncore id\t\t: ${core}\n\n`
    ).join("");
  assertEquals(parseProcessor(x86([[0, 0], [0, 1], [0, 0], [0, 1]])).cores, 2);
  assertEquals(parseProcessor(x86([[0, 0], [1, 0]])).cores, 2);
  const arm = [0, 1, 2].map((i) => `processor\t: ${i}\nCPU part\t: 0xd42\n\n`).join("");
  assertEquals(parseProcessor(arm).cores, 3);
  assertEquals(parseProcessor("").cores, 1);
});

Deno.test("cacheDirectory() is graft's own, the user's caches', or none", () => {
  const of = (variables: Record<string, string>) => cacheDirectory((name) => variables[name]);
  assertEquals(of({ GRAFT_CACHE_DIR: "/g", XDG_CACHE_HOME: "/x", HOME: "/h" }), "/g");
  assertEquals(of({ XDG_CACHE_HOME: "/x", HOME: "/h" }), "/x/graft");
  assertEquals(of({ XDG_CACHE_HOME: "relative", HOME: "/h" }), "/h/.cache/graft");
  assertEquals(of({}), undefined);
});
