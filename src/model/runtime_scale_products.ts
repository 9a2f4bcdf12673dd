/** The sums that scales are fitted by, computed by the runtime. */
import { int } from "../graph/attributes.ts";
import { float32Over, int64 } from "../graph/tensor.ts";
import type { Model, Node } from "../graph/types.ts";
import type { ScaleProducts } from "../quant/scale_products.ts";
import type { Executable, Runner } from "../runtime/runner.ts";

/** A runtime's products; dispose of it when done. */
export class RuntimeScaleProducts implements Disposable {
  readonly #runner: Runner;
  /** One for each number of columns and columns of a group. */
  readonly #opened = new Map<string, Promise<Executable>>();
  readonly #resources = new DisposableStack();

  constructor(runner: Runner) {
    this.#runner = runner;
  }

  /** Reads and writes the caller's arrays where they lie. */
  readonly compute: ScaleProducts = async (gram, centred, errors, size, out) => {
    const { rows, cols, groupCols } = size;
    const groups = cols / groupCols;
    const executable = await this.#open(cols, groupCols);
    using tensors = new DisposableStack();
    const shared = (values: Float32Array<ArrayBuffer>, ...dims: readonly number[]) =>
      tensors.use(this.#runner.share(float32Over(dims, values)));
    await executable.run(
      {
        gram: shared(gram, cols, cols),
        centred: shared(centred, cols, rows),
        errors: shared(errors, cols, rows),
      },
      ["normal", "right", "energies"],
      {
        brief: true,
        into: {
          normal: shared(out.normal, groups, groups, rows),
          right: shared(out.right, groups, rows),
          energies: shared(out.energies, rows),
        },
      },
    );
  };

  #open(cols: number, groupCols: number): Promise<Executable> {
    const key = `${cols}/${groupCols}`;
    const known = this.#opened.get(key);
    if (known !== undefined) return known;
    // The last tile of a matrix has fewer rows: a plan of memory for each would only be kept.
    const opened = this.#runner
      .compile(scaleModel(cols, groupCols), { label: "scale products", memoryPattern: false })
      .then((executable) => this.#resources.use(executable));
    this.#opened.set(key, opened);
    return opened;
  }

  [Symbol.dispose](): void {
    this.#resources[Symbol.dispose]();
  }
}

function scaleModel(cols: number, groupCols: number): Model {
  const groups = cols / groupCols;
  const value = (name: string, ...shape: readonly (number | string)[]) =>
    ({ name, type: { dtype: "float32", shape } }) as const;
  const node = (
    opType: string,
    inputs: readonly string[],
    output: string,
    attributes: Node["attributes"] = {},
  ): Node => ({ name: output, opType, domain: "", inputs, outputs: [output], attributes });
  return {
    irVersion: 8,
    opsets: { "": 17 },
    metadata: {},
    graph: {
      name: "scale products",
      inputs: [
        value("gram", cols, cols),
        value("centred", cols, "rows"),
        value("errors", cols, "rows"),
      ],
      outputs: [
        value("normal", groups, groups, "rows"),
        value("right", groups, "rows"),
        value("energies", "rows"),
      ],
      initializers: new Map([
        ["gram_groups", int64([3], [cols, groups, groupCols])],
        ["code_groups", int64([3], [groups, groupCols, -1])],
        ["pair_groups", int64([4], [groups, groups, groupCols, -1])],
        ["first", int64([1], [0])],
        ["second", int64([1], [1])],
        ["third", int64([1], [2])],
      ]),
      nodes: [
        node("Reshape", ["gram", "gram_groups"], "gram_split"),
        node("Transpose", ["gram_split"], "gram_by_group", {
          perm: { kind: "ints", value: [1, 0, 2] },
        }),
        node("Reshape", ["centred", "code_groups"], "by_group"),
        node("MatMul", ["gram_by_group", "by_group"], "product"),
        node("Mul", ["product", "centred"], "weighed"),
        node("Reshape", ["weighed", "pair_groups"], "by_pair"),
        node("ReduceSum", ["by_pair", "third"], "normal", { keepdims: int(0) }),
        node("MatMul", ["gram", "errors"], "slope"),
        node("Mul", ["slope", "centred"], "weighed_slope"),
        node("Reshape", ["weighed_slope", "code_groups"], "slope_by_group"),
        node("ReduceSum", ["slope_by_group", "second"], "right", { keepdims: int(0) }),
        node("Mul", ["slope", "errors"], "weighed_errors"),
        node("ReduceSum", ["weighed_errors", "first"], "energies", { keepdims: int(0) }),
      ],
      valueInfo: new Map(),
    },
  };
}
