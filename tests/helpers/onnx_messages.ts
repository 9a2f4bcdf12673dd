/** ONNX files made message by message, for what the Graph type cannot say. */
import { toBinary } from "@bufbuild/protobuf";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { type Proto, type ProtoName, schemaOf } from "../../src/onnx/schema.ts";
import { overlay } from "../../src/onnx/sources.ts";

/** A message with some fields set. */
export function message<N extends ProtoName>(name: N, fields: Partial<Proto<N>>): Proto<N> {
  return overlay(name, undefined, fields);
}

/** Numbers of a typed data field, packed as writers pack them. */
export function packed(
  type: "float" | "double" | "int32" | "int64" | "uint64",
  values: readonly (number | bigint)[],
): Uint8Array[] {
  const writer = new BinaryWriter();
  for (const value of values) writer[type](value as never);
  return [writer.finish()];
}

/** The bytes of a model file. */
export function fileOf(model: Proto<"ModelProto">): Uint8Array {
  return toBinary(schemaOf("ModelProto"), model);
}

export const entry = (key: string, value: string) =>
  message("StringStringEntryProto", { key, value });

export const shapeOf = (dims: readonly (number | string)[]) =>
  message("TensorShapeProto", {
    dim: dims.map((dim) =>
      message(
        "TensorShapeProto_Dimension",
        typeof dim === "number" ? { dimValue: BigInt(dim) } : { dimParam: dim },
      )
    ),
  });

/** A float32 value, or one of another ONNX type number. */
export const value = (name: string, dims: readonly (number | string)[], elemType = 1) =>
  message("ValueInfoProto", {
    name,
    type: message("TypeProto", {
      tensorType: message("TypeProto_Tensor", { elemType, shape: shapeOf(dims) }),
    }),
  });

/** A float32 tensor in raw data. */
export const floats = (name: string, dims: readonly number[], values: readonly number[]) =>
  message("TensorProto", {
    name,
    dataType: 1,
    dims: dims.map(BigInt),
    rawData: new Uint8Array(Float32Array.from(values).buffer),
  });

export const node = (
  opType: string,
  input: string[],
  output: string[],
  more: Partial<Proto<"NodeProto">> = {},
) => message("NodeProto", { opType, input, output, ...more });

/** `y = x + w`, then `z = Relu(y)`: the model that tests change. */
export function smallGraph(more: Partial<Proto<"GraphProto">> = {}): Proto<"GraphProto"> {
  return message("GraphProto", {
    name: "small",
    input: [value("x", ["batch", 2])],
    output: [value("z", ["batch", 2])],
    initializer: [floats("w", [2], [1, 2])],
    node: [
      node("Add", ["x", "w"], ["y"], { name: "add" }),
      node("Relu", ["y"], ["z"], { name: "relu" }),
    ],
    ...more,
  });
}

export function smallModel(
  graph: Partial<Proto<"GraphProto">> = {},
  more: Partial<Proto<"ModelProto">> = {},
): Proto<"ModelProto"> {
  return message("ModelProto", {
    irVersion: 10n,
    opsetImport: [message("OperatorSetIdProto", { domain: "", version: 21n })],
    graph: smallGraph(graph),
    ...more,
  });
}

const attribute = (name: string, type: number, fields: Partial<Proto<"AttributeProto">>) =>
  message("AttributeProto", { name, type, ...fields });

const utf8 = (text: string) => new TextEncoder().encode(text);

/** A file in which every message of the schema occurs, with text wherever text may stand. */
export function everythingModel(): Proto<"ModelProto"> {
  const branch = (name: string, opType: string) =>
    message("GraphProto", {
      name,
      docString: "a branch",
      output: [value(`${name}.out`, ["batch", 2])],
      node: [node(opType, ["y"], [`${name}.out`])], // reads y of the graph around it
    });
  const sparse = message("SparseTensorProto", {
    values: floats("sparse", [1], [5]),
    indices: message("TensorProto", { dataType: 7, dims: [1n], int64Data: packed("int64", [1n]) }),
    dims: [3n],
  });
  const typeProto = message("TypeProto", {
    optionalType: message("TypeProto_Optional", {
      elemType: message("TypeProto", {
        sequenceType: message("TypeProto_Sequence", {
          elemType: message("TypeProto", {
            mapType: message("TypeProto_Map", {
              keyType: 7,
              valueType: message("TypeProto", {
                denotation: "thing",
                sparseTensorType: message("TypeProto_SparseTensor", {
                  elemType: 1,
                  shape: shapeOf([3]),
                }),
              }),
            }),
          }),
        }),
      }),
    }),
  });
  const opaque = message("TypeProto", {
    opaqueType: message("TypeProto_Opaque", { domain: "custom", name: "Handle" }),
  });
  const every = node("Every", ["y", ""], ["e"], {
    name: "every",
    domain: "custom",
    overload: "second",
    docString: "all kinds of attributes",
    metadataProps: [entry("namespace", "model/layer")],
    deviceConfigurations: [
      message("NodeDeviceConfigurationProto", {
        configurationId: "two",
        pipelineStage: 1,
        shardingSpec: [message("ShardingSpecProto", {
          tensorName: "y",
          device: [0n, 1n],
          indexToDeviceGroupMap: [message("IntIntListEntryProto", { key: 0n, value: [0n, 1n] })],
          shardedDim: [message("ShardedDimProto", {
            axis: 0n,
            simpleSharding: [
              message("SimpleShardedDimProto", { dimValue: 4n, numShards: 2n }),
              message("SimpleShardedDimProto", { dimParam: "batch", numShards: 2n }),
            ],
          })],
        })],
      }),
    ],
    attribute: [
      attribute("float", 1, { f: 0.1, docString: "a float" }),
      attribute("int", 2, { i: -(2n ** 63n) }),
      attribute("zero", 2, { i: 0n }),
      attribute("string", 3, { s: new Uint8Array([0xff, 0xfe]) }), // no UTF-8: bytes must survive
      attribute("tensor", 4, { t: floats("", [1], [1]) }),
      attribute("floats", 6, { floats: [1.5, NaN, Infinity] }),
      attribute("ints", 7, { ints: [1n, -1n, 2n ** 62n + 1n] }),
      attribute("strings", 8, { strings: [utf8("a"), utf8("é")] }),
      attribute("tensors", 9, { tensors: [floats("t", [1], [2])] }),
      attribute("sparse_tensor", 11, { sparseTensor: sparse }),
      attribute("sparse_tensors", 12, { sparseTensors: [sparse] }),
      attribute("type_proto", 13, { tp: typeProto }),
      attribute("type_protos", 14, { typeProtos: [opaque] }),
      attribute("graphs", 10, { graphs: [branch("loose", "Relu")] }),
      attribute("__proto__", 2, { i: 7n }),
    ],
  });
  return message("ModelProto", {
    irVersion: 10n,
    producerName: "tests",
    producerVersion: "1",
    domain: "org.example",
    modelVersion: 3n,
    docString: "a model with everything",
    opsetImport: [
      message("OperatorSetIdProto", { domain: "ai.onnx", version: 21n }),
      message("OperatorSetIdProto", { domain: "custom", version: 1n }),
    ],
    metadataProps: [entry("key", "value"), entry("__proto__", "text")],
    configuration: [
      message("DeviceConfigurationProto", { name: "two", numDevices: 2, device: ["a", "b"] }),
    ],
    trainingInfo: [message("TrainingInfoProto", {
      initialization: message("GraphProto", { name: "init" }),
      algorithm: message("GraphProto", { name: "algorithm", initializer: [floats("lr", [], [1])] }),
      initializationBinding: [entry("w", "w0")],
      updateBinding: [entry("w", "w1")],
    })],
    functions: [message("FunctionProto", {
      name: "Every",
      domain: "custom",
      overload: "second",
      input: ["a", "b"],
      output: ["c"],
      attribute: ["zero"],
      attributeProto: [attribute("int", 2, { i: 1n })],
      docString: "a function",
      opsetImport: [message("OperatorSetIdProto", { domain: "", version: 21n })],
      valueInfo: [value("a", [2])],
      metadataProps: [entry("f", "g")],
      node: [node("Identity", ["a"], ["c"], {
        attribute: [message("AttributeProto", { name: "to", type: 2, refAttrName: "zero" })],
      })],
    })],
    graph: smallGraph({
      docString: "the graph",
      metadataProps: [entry("g", "h")],
      input: [
        value("x", ["batch", 2]),
        message("ValueInfoProto", { name: "condition", type: value("c", [], 9).type }),
        message("ValueInfoProto", { name: "sequence", docString: "no tensor", type: typeProto }),
      ],
      initializer: [
        floats("w", [2], [1, 2]),
        message("TensorProto", {
          name: "typed",
          dataType: 1,
          dims: [2n],
          floatData: packed("float", [3, 4]),
          docString: "in float_data",
          metadataProps: [entry("t", "u")],
        }),
        message("TensorProto", { name: "text", dataType: 8, dims: [1n], stringData: [utf8("hé")] }),
      ],
      sparseInitializer: [sparse],
      valueInfo: [value("y", ["batch", 2]), message("ValueInfoProto", { name: "e" })],
      quantizationAnnotation: [message("TensorAnnotation", {
        tensorName: "y",
        quantParameterTensorNames: [entry("SCALE_TENSOR", "w")],
      })],
      node: [
        node("Add", ["x", "w"], ["y"], { name: "add", domain: "ai.onnx" }),
        every,
        node("If", ["condition"], ["z"], {
          attribute: [
            attribute("then_branch", 5, { g: branch("then", "Relu") }),
            attribute("else_branch", 5, { g: branch("else", "Neg") }),
          ],
        }),
      ],
    }),
  });
}
