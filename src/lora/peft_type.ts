/** The methods of an adapter, and the `peft_type` that says them. */

/** What an adapter may be made of; one adapter may combine several. */
export const METHODS = [
  "lora",
  "scales",
  "houlsby",
  "pfeiffer",
  "prompt_tuning",
  "prefix_tuning",
  "ln_tuning",
  "bitfit",
] as const;
/** One of {@linkcode METHODS}. */
export type Method = (typeof METHODS)[number];

/** What an adapter has of each method, in the words of messages. */
export const METHOD_NAMES: Readonly<Record<Method, string>> = {
  lora: "low-rank matrices",
  scales: "factors of scales",
  houlsby: "bottleneck adapters (houlsby)",
  pfeiffer: "bottleneck adapters (pfeiffer)",
  prompt_tuning: "virtual tokens (prompt_tuning)",
  prefix_tuning: "virtual tokens (prefix_tuning)",
  ln_tuning: "trained normalisations (ln_tuning)",
  bitfit: "trained biases (bitfit)",
};

/** Methods that exclude each other in one adapter. */
const ALTERNATIVES: readonly (readonly Method[])[] = [
  ["lora", "scales"],
  ["houlsby", "pfeiffer"],
  ["prompt_tuning", "prefix_tuning"],
  ["ln_tuning", "bitfit"],
];

/** Methods whose matrices have a rank. */
export const isLowRank = (method: Method): boolean => method === "lora" || method === "scales";

/** PEFT's names; those of methods that PEFT does not have are graft's own, which PEFT then reports. */
const PEFT_TYPES: Readonly<Record<Method, string>> = {
  lora: "LORA",
  scales: "GRAFT_SCALES",
  houlsby: "GRAFT_HOULSBY",
  pfeiffer: "GRAFT_PFEIFFER",
  prompt_tuning: "PROMPT_TUNING",
  prefix_tuning: "PREFIX_TUNING",
  ln_tuning: "LN_TUNING",
  bitfit: "GRAFT_BITFIT",
};

/** `LORA`, or `LORA+GRAFT_HOULSBY` where methods are combined. */
export const formatPeftType = (methods: readonly Method[]): string =>
  methods.map((method) => PEFT_TYPES[method]).join("+");

/** The methods that a `peft_type` says; `undefined` if graft does not know it. */
export function parsePeftType(text: string): readonly Method[] | undefined {
  const methods = text.split("+").map((part) =>
    METHODS.find((method) => PEFT_TYPES[method] === part)
  );
  const known = methods.filter((method) => method !== undefined);
  const fits = known.length === methods.length && conflictOf(known) === undefined;
  return fits ? known : undefined;
}

/** Two of the methods that cannot be combined; one of them twice is no combination either. */
export function conflictOf(methods: readonly Method[]): readonly [Method, Method] | undefined {
  for (const [i, one] of methods.entries()) {
    const other = methods.slice(i + 1).find((other) =>
      other === one || ALTERNATIVES.some((all) => all.includes(one) && all.includes(other))
    );
    if (other !== undefined) return [one, other];
  }
  return undefined;
}
