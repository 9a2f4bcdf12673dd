/** What every supported release of ONNX Runtime must do behind the Runner interface. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { byteLength, type DataType } from "../../src/graph/dtype.ts";
import {
  elementCount,
  float32,
  int64,
  type Tensor,
  tensor,
  toBigInts,
  toNumbers,
} from "../../src/graph/tensor.ts";
import { BadInputError, RuntimeFailure, UsageError } from "../../src/errors.ts";
import { createOrtRunner, type OrtRunnerOptions } from "../../src/runtime/ort_runner.ts";
import type { Runner } from "../../src/runtime/runner.ts";
import { int, tensorValue } from "../../src/graph/attributes.ts";
import { ONNX_TYPE } from "../../src/graph/dtype.ts";
import { tinyModel } from "./ort.ts";

const numbers = (t: Tensor) => [...toNumbers(t)];

/** y[n, 2] = x[n, 3] w + 1, and the shape of y. */
const affine = tinyModel({
  inputs: { x: ["float32", ["n", 3]] },
  outputs: { y: ["float32", ["n", 2]], shape: ["int64", [2]] },
  initializers: { w: float32([3, 2], [1, 2, 3, 4, 5, 6]), one: float32([], [1]) },
  nodes: [["MatMul", ["x", "w"], ["xw"]], ["Add", ["xw", "one"], ["y"]], ["Shape", ["y"], [
    "shape",
  ]]],
  metadata: { author: "graft's tests", "clé": "naïve" },
});

/** A tensor of every bit pattern that is the same after a trip through ORT. */
function sample(dtype: DataType, count: number): Tensor {
  const bytes = new Uint8Array(byteLength(dtype, count));
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = dtype === "bool" ? i % 2 : (i * 37 + 11) % 0x70;
  }
  return tensor(dtype, [count], bytes);
}

/** Registers the cases for one library; `name` goes into the titles. */
export function runnerCases(name: string, options: OrtRunnerOptions): void {
  const test = (title: string, body: (runner: Runner) => Promise<void> | void) =>
    Deno.test(`${title} (${name})`, async () => {
      using runner = createOrtRunner({ threads: 2, ...options });
      await body(runner);
    });

  test("run() computes the outputs it is asked for", async (runner) => {
    using executable = await runner.compile(affine);
    using x = runner.upload(float32([2, 3], [1, 0, 0, 0, 1, 1]));
    const all = await executable.run({ x });
    assertEquals(Object.keys(all), ["y", "shape"]);
    assertEquals(all.y.dims, [2, 2]);
    assertEquals(all.y.dtype, "float32");
    assertEquals(numbers(all.y.read()), [2, 3, 9, 11]);
    assertEquals(toBigInts(all.shape.read()), BigInt64Array.of(2n, 2n));
    const one = await executable.run({ x }, ["shape"]);
    assertEquals(Object.keys(one), ["shape"]);
  });

  test("run() handles inputs and outputs without elements", async (runner) => {
    using executable = await runner.compile(affine);
    for (const x of [runner.upload(float32([0, 3], [])), runner.wrap(float32([0, 3], []))]) {
      const { y } = await executable.run({ x }, ["y"]);
      assertEquals(y.read(), { dtype: "float32", dims: [0, 2], bytes: new Uint8Array(0) });
    }
  });

  test("runInto() and bind() write into tensors that exist", async (runner) => {
    using executable = await runner.compile(affine);
    using x = runner.upload(float32([1, 3], [1, 1, 1]));
    using y = runner.allocate("float32", [1, 2]);
    assertEquals(numbers(y.read()), [0, 0]);
    await executable.runInto({ x }, { y });
    assertEquals(numbers(y.read()), [10, 13]);
    using bound = executable.bind({ x }, { y });
    x.write(float32([1, 3], [0, 0, 1]));
    await bound.run();
    assertEquals(numbers(y.read()), [6, 7]);
  });

  test("run() writes some outputs into tensors that exist and allocates the others", async (runner) => {
    using executable = await runner.compile(tinyModel({
      inputs: { x: ["float32", [2]] },
      outputs: { twice: ["float32", [2]], square: ["float32", [2]] },
      nodes: [["Add", ["x", "x"], ["twice"]], ["Mul", ["x", "x"], ["square"]]],
    }));
    using x = runner.upload(float32([2], [3, 4]));
    using square = runner.allocate("float32", [2]);
    const results = await executable.run({ x }, ["twice", "square"], { into: { square } });
    using twice = results.twice;
    assertEquals(results.square, square);
    assertEquals([...numbers(twice.read()), ...numbers(square.read())], [6, 8, 9, 16]);
  });

  test("share() lets runs write into the caller's own bytes", async (runner) => {
    using executable = await runner.compile(affine);
    const bytes = new Uint8Array(8);
    using x = runner.share(float32([1, 3], [1, 1, 1]));
    using y = runner.share({ dtype: "float32", dims: [1, 2], bytes });
    await executable.runInto({ x }, { y });
    assertEquals([...new Float32Array(bytes.buffer)], [10, 13]);
  });

  test("a bound run takes another feed, of another shape too", async (runner) => {
    using executable = await runner.compile(tinyModel({
      inputs: { x: ["float32", ["n"]], y: ["float32", [1]] },
      outputs: { sum: ["float32", [1]] },
      nodes: [["ReduceSum", ["x"], ["s"], { keepdims: int(0) }], ["Add", ["s", "y"], ["sum"]]],
    }));
    using x = runner.upload(float32([1], [1]));
    using y = runner.upload(float32([1], [100]));
    using sum = runner.allocate("float32", [1]);
    using bound = executable.bind({ x, y }, { sum });
    for (let n = 1; n < 4; n++) {
      {
        // The binding keeps what it feeds.
        using longer = runner.upload(float32([n], new Array(n).fill(2)));
        bound.feed("x", longer);
      }
      await bound.run();
      assertEquals(numbers(sum.read()), [100 + 2 * n]);
    }
    assertThrows(() => bound.feed("z", x), UsageError, 'Cannot feed "z"');
  });

  test("brief runs compute and fail like others", async (runner) => {
    using executable = await runner.compile(affine);
    using x = runner.upload(float32([1, 3], [1, 1, 1]));
    using y = (await executable.run({ x }, ["y"], { brief: true })).y;
    assertEquals(numbers(y.read()), [10, 13]);
    using bound = executable.bind({ x }, { y });
    x.write(float32([1, 3], [0, 0, 1]));
    await bound.run({ brief: true });
    assertEquals(numbers(y.read()), [6, 7]);
    using wrong = runner.upload(float32([1, 2], [1, 1]));
    await assertRejects(() => executable.run({ x: wrong }, ["y"], { brief: true }), RuntimeFailure);
    bound[Symbol.dispose]();
    await assertRejects(() => bound.run({ brief: true }), ReferenceError, "disposed of");
  });

  test("a kernel that is made for it reads and writes one tensor", async (runner) => {
    if (!runner.inPlace) return;
    using executable = await runner.compile(tinyModel({
      inputs: { x: ["float32", [2]] },
      outputs: { y: ["float32", [2]] },
      nodes: [["Add", ["x", "x"], ["y"]]],
    }));
    using x = runner.upload(float32([2], [1, 3]));
    using bound = executable.bind({ x }, { y: x });
    for (let i = 0; i < 3; i++) await bound.run();
    assertEquals(numbers(x.read()), [8, 24]);
  });

  test("runs of one executable may overlap", async (runner) => {
    using executable = await runner.compile(affine);
    const results = await Promise.all(Array.from({ length: 16 }, async (_, i) => {
      using x = runner.upload(float32([1, 3], [i, 0, 0]));
      return (await executable.run({ x }, ["y"])).y;
    }));
    assertEquals(results.map((y) => numbers(y.read())), results.map((_, i) => [i + 1, 2 * i + 1]));
  });

  test("outputs fed to the next run count no traffic", async (runner) => {
    using executable = await runner.compile(tinyModel({
      inputs: { x: ["float32", [1000]] },
      outputs: { y: ["float32", [1000]] },
      nodes: [["Add", ["x", "x"], ["y"]]],
    }));
    using first = runner.upload(float32([1000], new Float32Array(1000).fill(1)));
    assertEquals(runner.traffic, { uploadedBytes: 4000, readBytes: 0 });
    using second = (await executable.run({ x: first })).y;
    using third = runner.allocate("float32", [1000]);
    await executable.runInto({ x: second }, { y: third });
    using bound = executable.bind({ x: third }, { y: second });
    await bound.run();
    assertEquals(runner.traffic, { uploadedBytes: 4000, readBytes: 0 });
    assertEquals(numbers(second.read())[999], 8);
    assertEquals(runner.traffic, { uploadedBytes: 4000, readBytes: 4000 });
  });

  for (
    const dtype of [
      "float32",
      "float64",
      "float16",
      "bfloat16",
      "int64",
      "int32",
      "int16",
      "int8",
      "uint64",
      "uint32",
      "uint16",
      "uint8",
      "bool",
    ] as const
  ) {
    test(`Identity gives a ${dtype} tensor back bit for bit`, async (runner) => {
      using executable = await runner.compile(tinyModel({
        inputs: { x: [dtype, ["n"]] },
        outputs: { y: [dtype, ["n"]] },
        nodes: [["Identity", ["x"], ["y"]]],
      }));
      const value = sample(dtype, 7);
      using uploaded = runner.upload(value);
      using wrapped = runner.wrap(value);
      for (const x of [uploaded, wrapped]) {
        using y = (await executable.run({ x })).y;
        assertEquals(y.read(), value);
      }
    });
  }

  for (const dtype of ["int4", "uint4"] as const) {
    test(`${dtype} tensors hold two elements a byte, low half first`, async (runner) => {
      if (runner.version[1] < 19) {
        const value = tensor(dtype, [2], Uint8Array.of(0x21));
        for (const make of [() => runner.upload(value), () => runner.wrap(value)]) {
          assertThrows(make, RuntimeFailure, "has the type since 1.19");
        }
        return;
      }
      using executable = await runner.compile(tinyModel({
        inputs: { x: [dtype, [5]] },
        outputs: { y: ["float32", [5]] },
        initializers: { scale: float32([], [0.5]) },
        nodes: [["DequantizeLinear", ["x", "scale"], ["y"]]],
      }));
      const value = tensor(dtype, [5], Uint8Array.of(0x21, 0x8f, 0x07));
      using x = runner.upload(value);
      assertEquals(x.read(), value);
      using y = (await executable.run({ x })).y;
      assertEquals(
        numbers(y.read()),
        dtype === "int4" ? [0.5, 1, -0.5, -4, 3.5] : [0.5, 1, 7.5, 4, 3.5],
      );
      using back = await runner.compile(tinyModel({
        inputs: { y: ["float32", [5]] },
        outputs: { x: [dtype, [5]] },
        initializers: {
          scale: float32([], [0.5]),
          zero: tensor(dtype, [], Uint8Array.of(0)),
        },
        nodes: [["QuantizeLinear", ["y", "scale", "zero"], ["x"]]],
      }));
      using again = (await back.run({ y })).x;
      assertEquals(again.dtype, dtype);
      assertEquals(again.read(), value);
    });
  }

  test("compile() hands large initializers over, in the main graph and not in attributes", async (runner) => {
    const big = new Float32Array(5000).map((_, i) => i);
    using executable = await runner.compile(tinyModel({
      inputs: { x: ["float32", [5000]] },
      outputs: { y: ["float32", [5000]] },
      initializers: { w: float32([5000], big) },
      nodes: [
        ["Constant", [], ["c"], { value: tensorValue(float32([5000], big)) }],
        ["Add", ["x", "w"], ["xw"]],
        ["Sub", ["xw", "c"], ["y"]],
      ],
    }));
    const value = float32([5000], big);
    using x = runner.upload(value);
    assertEquals((await executable.run({ x })).y.read(), value);
  });

  test("compile() fixes free dimensions by name", async (runner) => {
    using executable = await runner.compile(affine, { dims: { n: 4 } });
    assertEquals(executable.inputs[0].type, { dtype: "float32", shape: [4, 3] });
  });

  test("an executable tells its inputs, outputs and metadata", async (runner) => {
    using executable = await runner.compile(affine);
    assertEquals(executable.inputNames, ["x"]);
    assertEquals(executable.inputs, [{ name: "x", type: { dtype: "float32", shape: ["n", 3] } }]);
    assertEquals(executable.outputs.map((output) => output.name), ["y", "shape"]);
    const { graphName, custom, version } = executable.metadata;
    assertEquals(graphName, "tiny");
    assertEquals(custom, { author: "graft's tests", "clé": "naïve" });
    assertEquals(version, undefined);
  });

  test("run() names what is missing, unknown or of the wrong type", async (runner) => {
    using executable = await runner.compile(affine, { label: "affine" });
    using x = runner.upload(float32([1, 3], [1, 1, 1]));
    using wrong = runner.upload(int64([1, 3], [1, 1, 1]));
    const message = async (run: Promise<unknown>, type: new (text: string) => Error) =>
      (await assertRejects(() => run, type)).message;
    assertStringIncludes(await message(executable.run({}), UsageError), `"x" is not fed`);
    assertStringIncludes(await message(executable.run({ x, z: x }), UsageError), `no input "z"`);
    assertStringIncludes(await message(executable.run({ x }, ["q"]), UsageError), `no output "q"`);
    assertStringIncludes(
      await message(executable.run({ x }, []), UsageError),
      "no output is requested",
    );
    const text = await message(executable.run({ x: wrong }), RuntimeFailure);
    assertStringIncludes(text, `Cannot run "affine"`);
    assertStringIncludes(text, "INVALID_ARGUMENT");
  });

  test("compile() reports what ORT rejects under the session's name", async (runner) => {
    const model = tinyModel({
      inputs: { x: ["float32", [1]] },
      outputs: { y: ["float32", [1]] },
      nodes: [["NoSuchOperator", ["x"], ["y"]]],
    });
    const { message } = await assertRejects(
      () => runner.compile(model, { label: "odd" }),
      RuntimeFailure,
    );
    assertStringIncludes(message, `Cannot compile "odd"`);
    assertStringIncludes(message, "NoSuchOperator");
    const missing = await assertRejects(() => runner.load("/no/model.onnx"), RuntimeFailure);
    assertStringIncludes(missing.message, "/no/model.onnx");
  });

  test("dispose is final, harmless twice, and waits for runs in flight", async (runner) => {
    const executable = await runner.compile(affine);
    const x = runner.upload(float32([1, 3], [1, 1, 1]));
    const y = runner.allocate("float32", [1, 2]);
    const bound = executable.bind({ x }, { y });
    const running = executable.run({ x }, ["y"]);
    const boundRunning = bound.run();
    for (let i = 0; i < 2; i++) {
      bound[Symbol.dispose]();
      x[Symbol.dispose]();
      executable[Symbol.dispose]();
    }
    const result = await running;
    assertEquals(numbers(result.y.read()), [10, 13]);
    await boundRunning;
    assertEquals(numbers(y.read()), [10, 13]);
    assertThrows(() => x.read(), ReferenceError, "after it was disposed of");
    await assertRejects(() => bound.run(), ReferenceError, "after it was disposed of");
    await assertRejects(() => executable.run({ x: y }), ReferenceError, "after it was disposed of");
    await assertRejects(() => executable.run({ x }), ReferenceError, "disposed of");
  });

  test("disposing of the runner takes its tensors and sessions along", async (runner) => {
    const executable = await runner.compile(affine);
    const x = runner.upload(float32([1, 3], [1, 1, 1]));
    const running = executable.run({ x }, ["y"]);
    runner[Symbol.dispose]();
    const { y } = await running;
    assertThrows(() => y.read(), ReferenceError);
    assertThrows(() => x.read(), ReferenceError);
    assertThrows(() => runner.upload(float32([1], [1])), ReferenceError);
    await assertRejects(() => runner.compile(affine), ReferenceError);
  });

  test("a cast between any two numeric types is ORT's own", async (runner) => {
    for (const to of ["float16", "bfloat16", "int8", "uint8", "float64", "int64"] as const) {
      using executable = await runner.compile(tinyModel({
        inputs: { x: ["float32", [3]] },
        outputs: { y: [to, [3]] },
        nodes: [["Cast", ["x"], ["y"], { to: int(ONNX_TYPE[to]) }]],
      }));
      using x = runner.upload(float32([3], [1, 2, 64]));
      using y = (await executable.run({ x })).y;
      assertEquals(y.dtype, to);
      assertEquals(numbers(y.read()), [1, 2, 64]);
      assertEquals(elementCount(y.dims), 3);
    }
  });

  test("write() refuses another type, another size, and wrapped bytes", (runner) => {
    using x = runner.upload(float32([2], [1, 2]));
    assertThrows(() => x.write(int64([2], [1, 2])), TypeError, "int64[2]");
    assertThrows(() => x.write(float32([3], [1, 2, 3])), TypeError, "of 12 bytes");
    using wrapped = runner.wrap(float32([2], [1, 2]));
    assertThrows(() => wrapped.write(float32([2], [3, 4])), TypeError, "wraps");
  });

  test("upload() and wrap() refuse strings with a typed error", (runner) => {
    const strings = { dtype: "string", dims: [0], bytes: new Uint8Array() } as const;
    assertThrows(() => runner.upload(strings), BadInputError, "numbers only");
    assertThrows(() => runner.wrap(strings), BadInputError, "numbers only");
  });

  test("a tensor of one runner is refused by another", async (runner) => {
    using other = createOrtRunner(options);
    using executable = await runner.compile(affine);
    using x = other.upload(float32([1, 3], [1, 1, 1]));
    await assertRejects(() => executable.run({ x }), TypeError, "another runner");
  });

  test("wrap() of bytes that are not aligned reads them right", async (runner) => {
    using executable = await runner.compile(affine);
    const bytes = new Uint8Array(13);
    bytes.set(float32([1, 3], [0, 0, 1]).bytes, 1);
    using x = runner.wrap(tensor("float32", [1, 3], bytes.subarray(1)));
    using y = (await executable.run({ x }, ["y"])).y;
    assertEquals(numbers(y.read()), [6, 7]);
  });

  test("the description and version name the library", (runner) => {
    assertStringIncludes(runner.description, `onnxruntime ${runner.version.join(".")}`);
    assertStringIncludes(runner.description, "CPUExecutionProvider");
    assert(runner.version[0] === 1 && runner.version[1] >= 18);
  });
}
