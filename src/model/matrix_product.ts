/** Products of matrices, computed by the runtime. */
import { int } from "../graph/attributes.ts";
import { float32Over } from "../graph/tensor.ts";
import type { Model } from "../graph/types.ts";
import type { MatrixProduct } from "../quant/product.ts";
import type { Executable, Runner } from "../runtime/runner.ts";

/** A runtime's products; dispose of it when done. */
export class RuntimeProduct implements Disposable {
  readonly #runner: Runner;
  readonly #plain: Executable;
  readonly #transposed: Executable;

  private constructor(runner: Runner, plain: Executable, transposed: Executable) {
    this.#runner = runner;
    this.#plain = plain;
    this.#transposed = transposed;
  }

  static async open(runner: Runner): Promise<RuntimeProduct> {
    // Every product has other sizes: a plan of memory for each would only be kept.
    const compile = (transposed: boolean) =>
      runner.compile(productModel(transposed), { label: "product", memoryPattern: false });
    using opened = new DisposableStack();
    const plain = opened.use(await compile(false));
    const product = new RuntimeProduct(runner, plain, await compile(true));
    opened.move();
    return product;
  }

  /** Reads and writes the caller's arrays where they lie. */
  readonly multiply: MatrixProduct = async (a, b, out, { m, k, n, transposed = false }) => {
    using tensors = new DisposableStack();
    const shared = (values: Float32Array<ArrayBuffer>, dims: readonly [number, number]) =>
      tensors.use(this.#runner.share(float32Over(dims, values)));
    const feeds = { a: shared(a, transposed ? [k, m] : [m, k]), b: shared(b, [k, n]) };
    await (transposed ? this.#transposed : this.#plain).run(feeds, ["out"], {
      brief: true,
      into: { out: shared(out, [m, n]) },
    });
  };

  [Symbol.dispose](): void {
    this.#plain[Symbol.dispose]();
    this.#transposed[Symbol.dispose]();
  }
}

function productModel(transposed: boolean): Model {
  const matrix = (name: string, ...shape: readonly string[]) =>
    ({ name, type: { dtype: "float32", shape } }) as const;
  return {
    irVersion: 8,
    opsets: { "": 17 },
    metadata: {},
    graph: {
      name: "product",
      inputs: [transposed ? matrix("a", "k", "m") : matrix("a", "m", "k"), matrix("b", "k", "n")],
      outputs: [matrix("out", "m", "n")],
      initializers: new Map(),
      nodes: [{
        name: "product",
        opType: "Gemm",
        domain: "",
        inputs: ["a", "b"],
        outputs: ["out"],
        attributes: { transA: int(transposed ? 1 : 0) },
      }],
      valueInfo: new Map(),
    },
  };
}
