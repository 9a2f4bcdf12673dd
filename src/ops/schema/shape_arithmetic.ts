/** ONNX operators with which graphs compute shapes. */
export const SHAPE_ARITHMETIC: ReadonlySet<string> = new Set([
  ..."Add And Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Floor Gather Greater"
    .split(" "),
  ..."Identity Less Max Min Mod Mul NonZero Not Or Range ReduceMax ReduceMin ReduceProd".split(" "),
  ..."ReduceSum Reshape ScatterND Shape Size Slice Squeeze Sub Tile Unsqueeze Where".split(" "),
]);
