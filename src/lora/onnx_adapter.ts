/**
 * ONNX Runtime's files of adapters, `.onnx_adapter`: tensors for inputs of a model, by name. The runtime adds
 * them to the inputs of a run (`RunOptions.add_active_adapter`). Source: `adapter_schema.fbs` of ONNX Runtime.
 */
import { Builder, ByteBuffer } from "flatbuffers";
import { BadInputError } from "../errors.ts";
import { elementCount, float32Over, type Tensor } from "../graph/tensor.ts";

const IDENTIFIER = "TORT";
const FORMAT_VERSION = 1;
/** `TensorDataType.FLOAT` */
const FLOAT = 1;
const MOST_DIMS = 8;

/** Fields of the tables, in the schema's order. */
const ADAPTER = { formatVersion: 0, adapterVersion: 1, modelVersion: 2, parameters: 3 } as const;
const PARAMETER = { name: 0, dims: 1, dataType: 2, rawData: 3 } as const;

/** What a file has. */
export interface OnnxAdapter {
  /** A number of the exporter's, which tells models apart. */
  readonly modelVersion: number;
  /** float32, by the name of the model's input. */
  readonly tensors: ReadonlyMap<string, Tensor>;
}

export function encodeOnnxAdapter({ modelVersion, tensors }: OnnxAdapter): Uint8Array {
  const builder = new Builder(1024);
  const parameters = Array.from(tensors, ([name, { dims, bytes }]) => {
    // The runtime reads the floats where they lie.
    builder.prep(8, bytes.length);
    const rawData = builder.createByteVector(bytes);
    builder.startVector(8, dims.length, 8);
    for (const size of dims.toReversed()) builder.addInt64(BigInt(size));
    const shape = builder.endVector();
    const label = builder.createString(name);
    builder.startObject(4);
    builder.addFieldOffset(PARAMETER.name, label, 0);
    builder.addFieldOffset(PARAMETER.dims, shape, 0);
    builder.addFieldInt32(PARAMETER.dataType, FLOAT, 0);
    builder.addFieldOffset(PARAMETER.rawData, rawData, 0);
    return builder.endObject();
  });
  builder.startVector(4, parameters.length, 4);
  for (const parameter of parameters.toReversed()) builder.addOffset(parameter);
  const list = builder.endVector();
  builder.startObject(4);
  builder.addFieldInt32(ADAPTER.formatVersion, FORMAT_VERSION, 0);
  builder.addFieldInt32(ADAPTER.adapterVersion, 1, 0);
  builder.addFieldInt32(ADAPTER.modelVersion, modelVersion, 0);
  builder.addFieldOffset(ADAPTER.parameters, list, 0);
  builder.finish(builder.endObject(), IDENTIFIER);
  return builder.asUint8Array();
}

/** @throws {BadInputError} naming the file */
export function decodeOnnxAdapter(bytes: Uint8Array, where: string): OnnxAdapter {
  const refuse = (why: string): never => {
    throw new BadInputError(`${where}: ${why}: it must be an adapter of ONNX Runtime's`);
  };
  const buffer = new ByteBuffer(bytes);
  if (bytes.length < 16 || !buffer.__has_identifier(IDENTIFIER)) refuse("it is no .onnx_adapter");
  const read = new Reader(buffer, bytes.length, () => refuse("it is cut or damaged"));
  const root = read.target(0);
  const version = read.int32(root, ADAPTER.formatVersion);
  if (version !== FORMAT_VERSION) refuse(`its format version is ${version}, not ${FORMAT_VERSION}`);
  const tensors = new Map<string, Tensor>();
  const list = read.vector(root, ADAPTER.parameters, 4);
  for (let i = 0; i < list.count; i++) {
    const table = read.target(list.start + 4 * i);
    const label = read.vector(table, PARAMETER.name, 1);
    const name = new TextDecoder().decode(bytes.subarray(label.start, label.start + label.count));
    const shape = read.vector(table, PARAMETER.dims, 8);
    if (shape.count > MOST_DIMS) refuse(`"${name}" has ${shape.count} dimensions`);
    const dims = Array.from(
      { length: shape.count },
      (_, d) => Number(buffer.readInt64(shape.start + 8 * d)),
    );
    const type = read.int32(table, PARAMETER.dataType);
    if (type !== FLOAT) refuse(`"${name}" has data type ${type}, not float32`);
    const data = read.vector(table, PARAMETER.rawData, 1);
    const fits = dims.every((size) => Number.isSafeInteger(size) && size >= 0) &&
      elementCount(dims) * Float32Array.BYTES_PER_ELEMENT === data.count;
    if (!fits) refuse(`"${name}" has ${data.count} bytes, which [${dims}] does not take`);
    if (name === "" || tensors.has(name)) refuse(`"${name}" is there twice, or has no name`);
    const values = new Float32Array(bytes.slice(data.start, data.start + data.count).buffer);
    tensors.set(name, float32Over(dims, values));
  }
  return { modelVersion: read.int32(root, ADAPTER.modelVersion), tensors };
}

/** Reads tables and vectors, none beyond the file's end. */
class Reader {
  constructor(
    readonly buffer: ByteBuffer,
    readonly length: number,
    readonly refuse: () => never,
  ) {}

  /** Where an offset leads. */
  target(at: number): number {
    return this.#within(this.#within(at, 4) + this.buffer.readInt32(at), 4);
  }

  /** A field of a table; 0 if it is absent. */
  int32(table: number, field: number): number {
    const at = this.#field(table, field);
    return at === undefined ? 0 : this.buffer.readInt32(this.#within(at, 4));
  }

  /** Elements of a vector; none if it is absent. */
  vector(table: number, field: number, size: number): { start: number; count: number } {
    const at = this.#field(table, field);
    if (at === undefined) return { start: 0, count: 0 };
    const vector = this.target(at);
    const count = this.buffer.readUint32(vector);
    this.#within(vector + 4, size * count);
    return { start: vector + 4, count };
  }

  #field(table: number, field: number): number | undefined {
    const layout = this.#within(table - this.buffer.readInt32(this.#within(table, 4)), 4);
    const at = 4 + 2 * field;
    if (at >= this.buffer.readUint16(layout)) return undefined;
    const offset = this.buffer.readUint16(this.#within(layout + at, 2));
    return offset === 0 ? undefined : table + offset;
  }

  #within(start: number, bytes: number): number {
    if (start >= 0 && start + bytes <= this.length) return start;
    return this.refuse();
  }
}
