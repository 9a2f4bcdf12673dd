/** ONNX bytes → Model. */
import { fromBinary } from "@bufbuild/protobuf";
import { BadInputError } from "../errors.ts";
import type { Tensor } from "../graph/tensor.ts";
import { arityProblem } from "../ops/schema/arity.ts";
import { portProblem } from "../graph/ports.ts";
import { rankProblem } from "../ops/schema/ranks.ts";
import { scaleProblem } from "../ops/schema/scales.ts";
import { sizeProblem } from "../ops/schema/sizes.ts";
import { CycleError, toposort } from "../graph/toposort.ts";
import type { Attribute, Graph, Model, Node, ValueInfo } from "../graph/types.ts";
import { graphProblem } from "../graph/verify.ts";
import { decodeAttribute } from "./attribute_proto.ts";
import { forEachTensor } from "./every_tensor.ts";
import { type Proto, schemaOf } from "./schema.ts";
import { rememberList } from "./sources.ts";
import type { DecodeContext, ExternalRef } from "./tensor_data.ts";
import { decodeTensor } from "./tensor_proto.ts";
import { decodeValueInfo } from "./value_proto.ts";
import { withPackedNumbers } from "./pack_numbers.ts";
import { checkWire } from "./wire_check.ts";

/** The newest supported operator set of the ONNX domain. */
const NEWEST_OPSET = 28;

/** Options of {@linkcode decodeModel}: the file's name and access to external data. */
export interface DecodeOptions {
  /** The file's name, for messages; `model` where absent. */
  readonly file?: string;
  /**
   * Reads a range of an external data file. It must check the location itself and throw a
   * `BadInputError` for one that it refuses. It is called for every tensor in the file, also for those
   * that graft does not interpret, in functions, sparse tensors and training information.
   */
  readonly external?: (ref: ExternalRef) => Uint8Array;
}

/** `"ai.onnx"` is another spelling of ONNX's own domain. */
export function normalDomain(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

/**
 * Reads a model. Raw tensor data is not copied: it stays a view over `bytes` (or over the result of
 * `options.external`), so both must not change while the model is in use. Data that the Graph type does
 * not represent is kept and written again by `encodeModel`.
 *
 * Nodes are returned in topological order, stably sorted if the file's order is not one.
 *
 * @param bytes the whole file.
 * @returns the model; its tensors are views.
 * @throws {BadInputError} for an invalid model, naming the file, the place and the value.
 *
 * @example
 * ```ts
 * import { decodeModel, encodeModel } from "./mod.ts";
 *
 * const file = "models/all-minilm-l6-v2-int8/model.onnx";
 * const model = decodeModel(await Deno.readFile(file), { file });
 * const graph = { ...model.graph, name: "renamed" };
 * await Deno.writeFile("renamed.onnx", encodeModel({ ...model, graph }));
 * ```
 */
export function decodeModel(bytes: Uint8Array, options: DecodeOptions = {}): Model {
  const context: DecodeContext = { file: options.file ?? "model", external: options.external };
  const proto = parseModel(bytes, context.file);
  const bad = (problem: string) => new BadInputError(`${context.file}: ${problem}`);
  const irVersion = Number(proto.irVersion);
  if (irVersion < 1) throw bad(`no ONNX model: IR version is ${irVersion}`);
  if (proto.graph === undefined) throw bad("the model has no graph");
  const opsets = decodeOpsets(proto, bad);
  // Tensors outside the graph first: an error in a part that graft ignores is still an error.
  forEachTensor("ModelProto", proto, (tensor, place) => decodeTensor(tensor, place, context));
  const graph = decodeGraph(proto.graph, "", context);
  const problem = graphProblem(graph) ?? arityProblem(graph) ?? portProblem(graph) ??
    sizesProblem(graph) ?? scaleProblem(graph);
  if (problem !== undefined) throw bad(problem);
  const metadata = Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key, value]));
  rememberList(metadata, proto.metadataProps);
  return { irVersion, opsets, graph, metadata, rest: proto };
}

/** Describes sizes and ranks that do not match, or an attribute of a wrong kind. */
function sizesProblem(graph: Graph): string | undefined {
  try {
    return sizeProblem(graph) ?? rankProblem(graph);
  } catch (error) {
    if (error instanceof BadInputError) return error.message;
    throw error;
  }
}

/**
 * The message of a model; only its wire format is checked.
 *
 * @throws {BadInputError} for bytes that are not a message, naming the file and the place
 */
export function parseModel(bytes: Uint8Array, file: string): Proto<"ModelProto"> {
  if (bytes.byteLength === 0) throw new BadInputError(`${file}: the file is empty`);
  const hasUnpacked = checkWire("ModelProto", bytes, file);
  try {
    const packed = hasUnpacked ? withPackedNumbers("ModelProto", bytes) : bytes;
    return fromBinary(schemaOf("ModelProto"), packed);
  } catch (error) {
    // The reader throws plain errors and RangeErrors; all of them are about the bytes.
    throw new BadInputError(`${file}: no ONNX model: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function decodeOpsets(
  proto: Proto<"ModelProto">,
  bad: (problem: string) => BadInputError,
): Record<string, number> {
  const opsets = new Map<string, number>();
  for (const { domain, version } of proto.opsetImport) {
    const name = normalDomain(domain);
    const number = Number(version);
    if (!Number.isSafeInteger(number) || number < 1) {
      throw bad(`opset of domain "${domain}" is not a version: current value is ${version}`);
    }
    if (name === "" && number > NEWEST_OPSET) {
      throw bad(`opset ${number} is newer than ${NEWEST_OPSET}, the newest graft knows`);
    }
    if (opsets.has(name) && opsets.get(name) !== number) {
      throw bad(`opset of domain "${domain}" is given twice: ${opsets.get(name)} and ${number}`);
    }
    opsets.set(name, number);
  }
  if (opsets.size === 0) throw bad("the model imports no opset");
  const record = Object.fromEntries(opsets);
  rememberList(record, proto.opsetImport);
  return record;
}

function decodeGraph(proto: Proto<"GraphProto">, where: string, context: DecodeContext): Graph {
  const place = (inner: string) => where === "" ? inner : `${where}: ${inner}`;
  const initializers = new Map<string, Tensor>();
  for (const tensor of proto.initializer) {
    if (initializers.has(tensor.name)) {
      throw new BadInputError(
        `${context.file}: ${place(`two initializers are named "${tensor.name}"`)}`,
      );
    }
    initializers.set(
      tensor.name,
      decodeTensor(tensor, place(`initializer "${tensor.name}"`), context),
    );
  }
  const valueInfo = new Map<string, ValueInfo>(
    // Shape inference annotates absent optional outputs too, whose name is empty.
    proto.valueInfo.filter(({ name }) => name !== "")
      .map((value) => [value.name, decodeValueInfo(value, context)]),
  );
  rememberList(valueInfo, proto.valueInfo);
  const nodes = proto.node.map((node, i) => decodeNode(node, i, place, context));
  return {
    name: proto.name,
    inputs: proto.input.map((value) => decodeValueInfo(value, context)),
    outputs: proto.output.map((value) => decodeValueInfo(value, context)),
    initializers,
    nodes: sorted(nodes, place, context),
    valueInfo,
    rest: proto,
  };
}

function sorted(
  nodes: readonly Node[],
  place: (inner: string) => string,
  context: DecodeContext,
): readonly Node[] {
  try {
    return toposort(nodes);
  } catch (error) {
    if (!(error instanceof CycleError)) throw error;
    throw new BadInputError(`${context.file}: ${place(error.message)}`, { cause: error });
  }
}

function decodeNode(
  proto: Proto<"NodeProto">,
  index: number,
  place: (inner: string) => string,
  context: DecodeContext,
): Node {
  const label = `node ${index} (${proto.opType} "${proto.name || proto.output.join()}")`;
  const attributes: [string, Attribute][] = [];
  const seen = new Set<string>();
  for (const attribute of proto.attribute) {
    const where = place(`${label}, attribute "${attribute.name}"`);
    if (seen.has(attribute.name)) {
      throw new BadInputError(`${context.file}: ${where} is given twice`);
    }
    seen.add(attribute.name);
    const decoded = decodeAttribute(
      attribute,
      where,
      context,
      (graph, at) => decodeGraph(graph, at, context),
    );
    attributes.push([attribute.name, decoded]);
  }
  return {
    name: proto.name,
    opType: proto.opType,
    domain: normalDomain(proto.domain),
    inputs: proto.input,
    outputs: proto.output,
    // fromEntries defines even "__proto__" as a property of its own.
    attributes: Object.fromEntries(attributes),
    ...(proto.metadataProps.length > 0 && {
      metadata: Object.fromEntries(proto.metadataProps.map(({ key, value }) => [key, value])),
    }),
    rest: proto,
  };
}
