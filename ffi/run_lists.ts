/**
 * Encodes runs as numbers, so that a thread without sessions and tensors can execute them: addresses in
 * shared memory, and their roles.
 *
 * A run of a list reads results of other runs in place; it waits for a result of another list.
 */

/**
 * A result of another run, used as an input: an earlier run of the same list, or any run that does not
 * wait for this one.
 */
export interface Earlier {
  /** Number of its list. */
  readonly list: number;
  readonly run: number;
  /** Number of the output. */
  readonly output: number;
}

/** A run whose fields are addresses for C. */
export interface NativeRun {
  readonly session: bigint;
  /** `const char**` */
  readonly inputNames: bigint;
  readonly outputNames: bigint;
  /** An earlier result is released after the last of the runs that take it. */
  readonly inputs: readonly (bigint | Earlier)[];
  /** 0: ORT allocates. */
  readonly outputs: readonly bigint[];
  /** Runs of other lists that end before it begins. */
  readonly after: readonly Pick<Earlier, "list" | "run">[];
}

/** Lists as numbers. */
export interface EncodedLists {
  /** Addresses; after those of each run its result values. */
  readonly cells: BigUint64Array;
  /** For each cell, the number of runs that have yet to read its value. */
  readonly readers: Int32Array;
  /** For each list, the number of its finished runs; -1 for an aborted list. */
  readonly progress: Int32Array;
  /** For each list, its runs in order: six numbers, and four for each result or run that a run waits for. */
  readonly lists: readonly Int32Array[];
  /** For each list, the duration of each of its runs, in milliseconds. */
  readonly times: readonly Float64Array[];
}

/** ORT's functions for executing a list: `Run` and `ReleaseValue`. */
export interface ListFunctions {
  readonly run: (
    session: bigint,
    options: bigint,
    inputNames: bigint,
    inputs: bigint,
    inputCount: bigint,
    outputNames: bigint,
    outputCount: bigint,
    outputs: bigint,
  ) => bigint;
  readonly release: (value: bigint) => void;
}

const FAILED = -1;
/** In place of cells, where a run waits for another and reads nothing of it. */
const NO_CELL = -1;

const RUN_SIGNATURE = {
  parameters: ["u64", "u64", "u64", "u64", "u64", "u64", "u64", "u64"],
  result: "u64",
} as const;
const RELEASE_SIGNATURE = { parameters: ["u64"], result: "void" } as const;
const CELL_BYTES = BigUint64Array.BYTES_PER_ELEMENT;

/** The functions at two addresses, for any thread. */
export function listFunctions(run: bigint, release: bigint): ListFunctions {
  const at = (address: bigint) => Deno.UnsafePointer.create(address)!;
  const runs = new Deno.UnsafeFnPointer(
    at(run) as Deno.PointerObject<typeof RUN_SIGNATURE>,
    RUN_SIGNATURE,
  );
  const releases = new Deno.UnsafeFnPointer(
    at(release) as Deno.PointerObject<typeof RELEASE_SIGNATURE>,
    RELEASE_SIGNATURE,
  );
  return {
    run: (...args) => runs.call(...args),
    release: (value) => releases.call(value),
  };
}

/** Returns the cell of an output's value, by list, run and output. */
export type CellOf = (result: Earlier) => number;

export function encodeLists(
  lists: readonly (readonly NativeRun[])[],
): { readonly encoded: EncodedLists; readonly cellOf: CellOf } {
  const runs = lists.flat();
  const count = runs.reduce(
    (sum, { inputs, outputs }) => sum + 3 + inputs.length + outputs.length,
    0,
  );
  const cells = new BigUint64Array(new SharedArrayBuffer(Math.max(1, count) * CELL_BYTES));
  const readers = new Int32Array(new SharedArrayBuffer(cells.length * 4));
  const outputsOf = lists.map(() => [] as number[]);
  const cellOf: CellOf = ({ list, run, output }) => outputsOf[list][run] + output;
  let at = 0;
  const write = (values: readonly bigint[]) => {
    cells.set(values, at);
    return (at += values.length) - values.length;
  };
  // All cells first, because a run also reads results of later lists.
  const placed = lists.map((list, l) =>
    list.map((run) => {
      const { session, inputNames, outputNames, inputs, outputs } = run;
      const head = write([session, inputNames, outputNames]);
      const first = write(inputs.map((input) => typeof input === "bigint" ? input : 0n));
      outputsOf[l].push(write(outputs));
      return { run, head, first, last: outputsOf[l].at(-1)! };
    })
  );
  const encoded = placed.map((list) => {
    const numbers: number[] = [];
    for (const { run: { inputs, outputs, after }, head, first, last } of list) {
      const reads = inputs.flatMap((input, i) =>
        typeof input === "bigint" ? [] : [first + i, cellOf(input), input.list, input.run]
      );
      for (let i = 1; i < reads.length; i += 4) readers[reads[i]]++;
      const waits = after.flatMap(({ list, run }) => [NO_CELL, NO_CELL, list, run]);
      const takes = [...reads, ...waits];
      numbers.push(head, first, inputs.length, last, outputs.length, takes.length / 4, ...takes);
    }
    return Int32Array.from(numbers);
  });
  const progress = new Int32Array(new SharedArrayBuffer(lists.length * 4));
  const times = lists.map(({ length }) => new Float64Array(new SharedArrayBuffer(length * 8)));
  return { encoded: { cells, readers, progress, lists: encoded, times }, cellOf };
}

/** Result of a list. */
export interface ListEnd {
  /** Address of the failed run's `OrtStatus`; 0 if none failed, or a run of another list. */
  readonly status: bigint;
  /** Number of successful runs. */
  readonly done: number;
}

/** Executes a list on this thread, which waits for other lists if necessary. */
export function carryOut(
  { cells, readers, progress, lists, times }: EncodedLists,
  number: number,
  { run, release }: ListFunctions,
): ListEnd {
  const list = lists[number];
  const base = BigInt(
    Deno.UnsafePointer.value(Deno.UnsafePointer.of(cells as BigUint64Array<ArrayBuffer>)),
  );
  const address = (cell: number) => base + BigInt(cell * CELL_BYTES);
  let done = 0;
  const failed = (status: bigint): ListEnd => {
    setProgress(progress, number, FAILED);
    return { status, done };
  };
  for (let at = 0; at < list.length;) {
    const [head, inputs, inputCount, outputs, outputCount, takes] = list.subarray(at, at += 6);
    const taken = at;
    for (let i = 0; i < takes; i++) {
      const [to, from, other, otherRun] = list.subarray(at, at += 4);
      if (!waitFor(progress, other, otherRun)) return failed(0n);
      if (to !== NO_CELL) cells[to] = cells[from];
    }
    const start = performance.now();
    const status = run(
      cells[head],
      0n,
      cells[head + 1],
      address(inputs),
      BigInt(inputCount),
      cells[head + 2],
      BigInt(outputCount),
      address(outputs),
    );
    if (status !== 0n) return failed(status);
    for (let i = taken; i < at; i += 4) {
      const from = list[i + 1];
      if (from === NO_CELL || Atomics.sub(readers, from, 1) > 1) continue;
      release(cells[from]);
      cells[from] = 0n;
    }
    times[number][done] = performance.now() - start;
    setProgress(progress, number, ++done);
  }
  return { status: 0n, done };
}

/** Aborts a list, and so the lists that wait for it. */
export function giveUp({ progress }: EncodedLists, number: number): void {
  setProgress(progress, number, FAILED);
}

/** Waits for the end of a run; returns false if its list is aborted. */
function waitFor(progress: Int32Array, list: number, run: number): boolean {
  for (;;) {
    const done = Atomics.load(progress, list);
    if (done === FAILED) return false;
    if (done > run) return true;
    Atomics.wait(progress, list, done);
  }
}

function setProgress(progress: Int32Array, list: number, done: number): void {
  Atomics.store(progress, list, done);
  Atomics.notify(progress, list);
}
