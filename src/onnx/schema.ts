/**
 * The messages of ONNX as `@bufbuild/protobuf` descriptors.
 *
 * Field names, numbers and types are those of `onnx.proto` in the ONNX specification, up to IR
 * version 14. Nested messages carry the names C++ gives them.
 */
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import { describeMessages, type ProtoOf, type Scalars } from "../protobuf/message_table.ts";

/** Packed records stay undecoded (see `packed_numbers.ts`). */
const MESSAGES = {
  ModelProto: {
    ir_version: [1, "int64"],
    producer_name: [2, "string"],
    producer_version: [3, "string"],
    domain: [4, "string"],
    model_version: [5, "int64"],
    doc_string: [6, "string"],
    graph: [7, "GraphProto"],
    opset_import: [8, "OperatorSetIdProto[]"],
    metadata_props: [14, "StringStringEntryProto[]"],
    training_info: [20, "TrainingInfoProto[]"],
    functions: [25, "FunctionProto[]"],
    configuration: [26, "DeviceConfigurationProto[]"],
  },
  OperatorSetIdProto: { domain: [1, "string"], version: [2, "int64"] },
  StringStringEntryProto: { key: [1, "string"], value: [2, "string"] },
  DeviceConfigurationProto: {
    name: [1, "string"],
    num_devices: [2, "int32"],
    device: [3, "string[]"],
  },
  TrainingInfoProto: {
    initialization: [1, "GraphProto"],
    algorithm: [2, "GraphProto"],
    initialization_binding: [3, "StringStringEntryProto[]"],
    update_binding: [4, "StringStringEntryProto[]"],
  },
  FunctionProto: {
    name: [1, "string"],
    input: [4, "string[]"],
    output: [5, "string[]"],
    attribute: [6, "string[]"],
    node: [7, "NodeProto[]"],
    doc_string: [8, "string"],
    opset_import: [9, "OperatorSetIdProto[]"],
    domain: [10, "string"],
    attribute_proto: [11, "AttributeProto[]"],
    value_info: [12, "ValueInfoProto[]"],
    overload: [13, "string"],
    metadata_props: [14, "StringStringEntryProto[]"],
  },
  GraphProto: {
    node: [1, "NodeProto[]"],
    name: [2, "string"],
    initializer: [5, "TensorProto[]"],
    doc_string: [10, "string"],
    input: [11, "ValueInfoProto[]"],
    output: [12, "ValueInfoProto[]"],
    value_info: [13, "ValueInfoProto[]"],
    quantization_annotation: [14, "TensorAnnotation[]"],
    sparse_initializer: [15, "SparseTensorProto[]"],
    metadata_props: [16, "StringStringEntryProto[]"],
  },
  TensorAnnotation: {
    tensor_name: [1, "string"],
    quant_parameter_tensor_names: [2, "StringStringEntryProto[]"],
  },
  NodeProto: {
    input: [1, "string[]"],
    output: [2, "string[]"],
    name: [3, "string"],
    op_type: [4, "string"],
    attribute: [5, "AttributeProto[]"],
    doc_string: [6, "string"],
    domain: [7, "string"],
    overload: [8, "string"],
    metadata_props: [9, "StringStringEntryProto[]"],
    device_configurations: [10, "NodeDeviceConfigurationProto[]"],
  },
  NodeDeviceConfigurationProto: {
    configuration_id: [1, "string"],
    sharding_spec: [2, "ShardingSpecProto[]"],
    pipeline_stage: [3, "int32"],
  },
  ShardingSpecProto: {
    tensor_name: [1, "string"],
    device: [2, "int64[]"],
    index_to_device_group_map: [3, "IntIntListEntryProto[]"],
    sharded_dim: [4, "ShardedDimProto[]"],
  },
  IntIntListEntryProto: { key: [1, "int64"], value: [2, "int64[]"] },
  ShardedDimProto: { axis: [1, "int64"], simple_sharding: [2, "SimpleShardedDimProto[]"] },
  SimpleShardedDimProto: {
    dim_value: [1, "int64"],
    dim_param: [2, "string"],
    num_shards: [3, "int64"],
  },
  AttributeProto: {
    name: [1, "string"],
    f: [2, "float"],
    i: [3, "int64"],
    s: [4, "bytes"],
    t: [5, "TensorProto"],
    g: [6, "GraphProto"],
    floats: [7, "float[]"],
    ints: [8, "int64[]"],
    strings: [9, "bytes[]"],
    tensors: [10, "TensorProto[]"],
    graphs: [11, "GraphProto[]"],
    doc_string: [13, "string"],
    tp: [14, "TypeProto"],
    type_protos: [15, "TypeProto[]"],
    type: [20, "int32"],
    ref_attr_name: [21, "string"],
    sparse_tensor: [22, "SparseTensorProto"],
    sparse_tensors: [23, "SparseTensorProto[]"],
  },
  TensorProto: {
    dims: [1, "int64[]"],
    data_type: [2, "int32"],
    segment: [3, "TensorProto_Segment"],
    float_data: [4, "float[packed]"],
    int32_data: [5, "int32[packed]"],
    string_data: [6, "bytes[]"],
    int64_data: [7, "int64[packed]"],
    name: [8, "string"],
    raw_data: [9, "bytes"],
    double_data: [10, "double[packed]"],
    uint64_data: [11, "uint64[packed]"],
    doc_string: [12, "string"],
    external_data: [13, "StringStringEntryProto[]"],
    data_location: [14, "int32"],
    metadata_props: [16, "StringStringEntryProto[]"],
  },
  TensorProto_Segment: { begin: [1, "int64"], end: [2, "int64"] },
  SparseTensorProto: {
    values: [1, "TensorProto"],
    indices: [2, "TensorProto"],
    dims: [3, "int64[]"],
  },
  ValueInfoProto: {
    name: [1, "string"],
    type: [2, "TypeProto"],
    doc_string: [3, "string"],
    metadata_props: [4, "StringStringEntryProto[]"],
  },
  TypeProto: {
    tensor_type: [1, "TypeProto_Tensor"],
    sequence_type: [4, "TypeProto_Sequence"],
    map_type: [5, "TypeProto_Map"],
    denotation: [6, "string"],
    opaque_type: [7, "TypeProto_Opaque"],
    sparse_tensor_type: [8, "TypeProto_SparseTensor"],
    optional_type: [9, "TypeProto_Optional"],
  },
  TypeProto_Tensor: { elem_type: [1, "int32"], shape: [2, "TensorShapeProto"] },
  TypeProto_Sequence: { elem_type: [1, "TypeProto"] },
  TypeProto_Map: { key_type: [1, "int32"], value_type: [2, "TypeProto"] },
  TypeProto_Opaque: { domain: [1, "string"], name: [2, "string"] },
  TypeProto_SparseTensor: { elem_type: [1, "int32"], shape: [2, "TensorShapeProto"] },
  TypeProto_Optional: { elem_type: [1, "TypeProto"] },
  TensorShapeProto: { dim: [1, "TensorShapeProto_Dimension[]"] },
  TensorShapeProto_Dimension: {
    dim_value: [1, "int64"],
    dim_param: [2, "string"],
    denotation: [3, "string"],
  },
} as const;

type Messages = typeof MESSAGES;

/** Name of a message in the table. */
export type ProtoName = keyof Messages;

/** A decoded message: bufbuild's shape, fields in camel case, scalars read as their default when unset. */
export type Proto<N extends ProtoName> = ProtoOf<Messages, "onnx", N>;

const describe = describeMessages("onnx", MESSAGES);

/** Type of the numbers in a field of packed records, `undefined` for any other field. */
export function packedType(name: ProtoName, field: string): keyof Scalars | undefined {
  const [, type] = (MESSAGES[name] as Readonly<Record<string, readonly [number, string]>>)[field];
  return type.endsWith("[packed]") ? type.slice(0, -"[packed]".length) as keyof Scalars : undefined;
}

/** The descriptor of a message, for `fromBinary`, `toBinary` and `create`. */
export function schemaOf<N extends ProtoName>(name: N): GenMessage<Proto<N>> {
  return describe(name);
}

/** `AttributeProto.AttributeType` of the ONNX specification. */
export const ATTRIBUTE_TYPE = {
  undefined: 0,
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

/** `TensorProto.DataLocation.EXTERNAL`. */
export const EXTERNAL = 1;
