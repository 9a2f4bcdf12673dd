/** Models that keep a tensor in a file beside them, in each place where a tensor can be. */
import type { Proto } from "../../src/onnx/schema.ts";
import { entry, floats, message, node, smallGraph, smallModel } from "./onnx_messages.ts";

type Tensor = Proto<"TensorProto">;

/** A float32[2] at `location`. */
const externalTensor = (location: string, dataType = 1): Tensor =>
  message("TensorProto", {
    name: "v",
    dims: [2n],
    dataType,
    dataLocation: 1,
    externalData: [entry("location", location), entry("length", dataType === 1 ? "8" : "16")],
  });

const attribute = (fields: Partial<Proto<"AttributeProto">>) =>
  message("AttributeProto", { name: "a", ...fields });
const withAttribute = (fields: Partial<Proto<"AttributeProto">>) =>
  smallModel({
    node: [...smallGraph().node, node("Op", ["x"], ["q"], { attribute: [attribute(fields)] })],
  });
const sparse = (fields: Partial<Proto<"SparseTensorProto">>) =>
  message("SparseTensorProto", { values: floats("s", [2], [1, 2]), dims: [4n], ...fields });

/** Everywhere in a model that a tensor can be. */
export const PLACEMENTS: Record<string, (location: string) => Proto<"ModelProto">> = {
  initializer: (at) =>
    smallModel({ initializer: [...smallGraph().initializer, externalTensor(at)] }),
  "sparse values": (at) =>
    smallModel({ sparseInitializer: [sparse({ values: externalTensor(at) })] }),
  "sparse indices": (at) =>
    smallModel({ sparseInitializer: [sparse({ indices: externalTensor(at, 7) })] }),
  attribute: (at) => withAttribute({ type: 4, t: externalTensor(at) }),
  "list attribute": (at) => withAttribute({ type: 9, tensors: [externalTensor(at)] }),
  "sparse attribute": (at) =>
    withAttribute({ type: 11, sparseTensor: sparse({ values: externalTensor(at) }) }),
  subgraph: (at) =>
    withAttribute({
      type: 5,
      g: message("GraphProto", { name: "inner", initializer: [externalTensor(at)] }),
    }),
  function: (at) =>
    smallModel({}, {
      functions: [message("FunctionProto", {
        name: "f",
        node: [
          node("Constant", [], ["c"], {
            attribute: [attribute({ type: 4, t: externalTensor(at) })],
          }),
        ],
      })],
    }),
  "training information": (at) =>
    smallModel({}, {
      trainingInfo: [message("TrainingInfoProto", {
        algorithm: message("GraphProto", { initializer: [externalTensor(at)] }),
      })],
    }),
};

/** Locations that must be refused; `ROOT` stands for the folder around the model's. */
export const REFUSED = [
  "",
  ".",
  "..",
  "/",
  "./",
  "../secret",
  "sub/../../secret",
  "sub/../good",
  "./../secret",
  "..//secret",
  "..\\secret",
  "sub\\..\\..\\secret",
  "../model/good",
  "../model-other/secret",
  "ROOT/secret",
  "ROOT/model/good",
  "//ROOT/secret",
  "/dev/zero",
  "/proc/self/environ",
  "\\secret",
  "C:\\secret",
  "C:/secret",
  "file:///etc/passwd",
  "~/secret",
  "%2e%2e/secret",
  "good\0",
  "good\0/../../secret",
  "\0",
  "link",
  "absolute-link",
  "link-to-link",
  "up/secret",
  "up/model/good/../../secret",
  "other/secret",
  "zero",
  "environ",
  "dangling",
  "loop",
  "hard",
  "pipe",
  "socket",
  "sub",
  "good/",
  "missing",
  "link/../good",
  "x".repeat(5000),
];
