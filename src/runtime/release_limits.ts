/**
 * Explains which feature that a model needs is missing from a release of ONNX Runtime, or from all.
 *
 * ONNX Runtime's own messages name a line of its source and no remedy; the texts here are those of
 * releases 1.18 to 1.30. Unknown messages are not changed.
 */

/** `[major, minor, patch]` of a release. */
export type Release = readonly [number, number, number];

/** The first release whose MatMulNBits accepts weights of 8 bits on the CPU. */
export const EIGHT_BITS_SINCE = [1, 22, 0] as const;

/** Whether `release` is older than `other`. */
export function isBefore(release: Release, other: Release): boolean {
  const differs = release.findIndex((part, i) => part !== other[i]);
  return differs >= 0 && release[differs] < other[differs];
}

type Explanation = readonly [pattern: RegExp, explain: (...groups: string[]) => string | undefined];

/** A pattern of ONNX Runtime's messages, and the rest of the sentence "ONNX Runtime 1.18.0 …". */
const EXPLANATIONS: readonly Explanation[] = [
  [
    /Opset (\d+) is under development.*for domain (\S+) is till opset (\d+)/s,
    (asked, domain, last) => `has opsets of ${domain} up to ${last}: the model's is ${asked}`,
  ],
  [
    /Unsupported model IR version: (\d+), max supported IR version: (\d+)/,
    (asked, last) => `reads files of ONNX's IR version up to ${last}: the model's is ${asked}`,
  ],
  [
    /In Node, \("(.*?)", (\w+), .* has input size (\d+) not in range \[min=\d+, max=(\d+)\]/s,
    (node, operator, asked, most) =>
      Number(asked) > Number(most)
        ? `gives ${operator} at most ${most} inputs: node "${node}" has ${asked}`
        : undefined,
  ],
  [
    // For the runtime's own operators; ONNX's have the attributes of the file's operator set.
    /In Node, \("(.*?)", \w+, "com\.microsoft".*Unrecognized attribute: (\S+) for operator (\w+)/s,
    (node, attribute, operator) =>
      `gives ${operator} no attribute "${attribute}": node "${node}" has it`,
  ],
  [
    /(?:(\S+):)?(\w+)\(-?\d+\) is not a registered function\/op/,
    (domain, operator) => `has no operator ${domain ? `${domain}.` : ""}${operator}`,
  ],
  [
    /No Op registered for (\w+) with domain_version of (\d+)/,
    (operator, opset) => `has no operator ${operator} in opset ${opset}`,
  ],
  [
    /Could not find an implementation for (\w+)\(\d+\) node with name '(.*)'/,
    (operator, node) => `has no kernel of ${operator} for the types of node "${node}"`,
  ],
  [
    /MLDataType for: tensor\((\w+)\) is not currently registered/,
    (type) => `has no tensors of ${type}`,
  ],
  [
    /nbits_ == 4 was false/,
    () => `has MatMulNBits with 4 bits only; 8 came with ${EIGHT_BITS_SINCE.join(".")}`,
  ],
];

/**
 * Describes the problem of a file that no release can read, if the message is about one.
 *
 * @param message ONNX Runtime's, from creating a session
 */
export function invalidModel(message: string): string | undefined {
  const found = /In Node, \("(.*?)", (\w+), "".*Unrecognized attribute: (\S+) for operator/s
    .exec(message);
  if (found === null) return undefined;
  const [, node, operator, attribute] = found;
  return `node "${node}" has the attribute "${attribute}", which ${operator} does not have in the ` +
    "file's operator set: the program that wrote the file may have raised the set's number and left the nodes " +
    "as they were; convert the model to that set first";
}

/**
 * The rest of the sentence "ONNX Runtime 1.18.0 …", if the message is about a feature of other releases.
 *
 * @param message ONNX Runtime's, from creating a session
 */
export function releaseLimit(message: string): string | undefined {
  for (const [pattern, explain] of EXPLANATIONS) {
    const found = pattern.exec(message);
    if (found !== null) return explain(...found.slice(1));
  }
  return undefined;
}
