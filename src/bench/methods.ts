/** The methods of fine-tuning that `graft bench methods` compares. */

/** How a method is trained: its parameters, and where its learning rate usually lies. */
export interface BenchMethod {
  /** Its name in tables. */
  readonly title: string;
  /** Parameters of a training that choose it. */
  readonly parameters: Readonly<Record<string, string | boolean>>;
  /** Learning rate unless another is given. */
  readonly learningRate: number;
  /** Whether merging leaves none of it beside the weights. */
  readonly merges: boolean;
}

/** LoRA's learning rate. */
const RATE = 1e-3;
/** That of virtual tokens, which start at random values far from any token's. */
const TOKENS_RATE = 1e-2;

/** A method that stays beside the weights. */
const beside = (title: string, type: string, learningRate: number): BenchMethod => ({
  title,
  parameters: { adapterType: type },
  learningRate,
  merges: false,
});

/** Methods by the name that the command line takes. */
export const BENCH_METHODS = {
  lora: { title: "LoRA", parameters: {}, learningRate: RATE, merges: true },
  dora: { title: "DoRA", parameters: { useDora: true }, learningRate: RATE, merges: true },
  houlsby: beside("Houlsby adapters", "houlsby", RATE),
  pfeiffer: beside("Pfeiffer adapters", "pfeiffer", RATE),
  prompt_tuning: beside("prompt tuning", "prompt_tuning", TOKENS_RATE),
  prefix_tuning: beside("prefix tuning", "prefix_tuning", TOKENS_RATE),
} as const satisfies Readonly<Record<string, BenchMethod>>;

/** Name of a method. */
export type BenchMethodName = keyof typeof BENCH_METHODS;

/** All names, in the order of the table. */
export const BENCH_METHOD_NAMES = Object.keys(BENCH_METHODS) as BenchMethodName[];

/** Those that every model can be trained by: encoders have no prefix. */
export const USUAL_BENCH_METHODS = BENCH_METHOD_NAMES.filter((name) => name !== "prefix_tuning");
