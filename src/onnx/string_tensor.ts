/**
 * Bytes of string tensors: for each element its length as a little-endian uint32, then its UTF-8.
 *
 * ONNX stores strings apart from raw data; graft keeps them in this form.
 */

/** Packs strings, each given as its bytes. */
export function encodeStrings(strings: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(strings.reduce((size, s) => size + 4 + s.byteLength, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const bytes of strings) {
    view.setUint32(at, bytes.byteLength, true);
    out.set(bytes, at + 4);
    at += 4 + bytes.byteLength;
  }
  return out;
}

/** Unpacks strings; each is a view. Throws a `RangeError` for bytes that end inside a string. */
export function decodeStrings(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const strings: Uint8Array[] = [];
  for (let at = 0; at < bytes.byteLength;) {
    const length = view.getUint32(at, true);
    if (at + 4 + length > bytes.byteLength) {
      throw new RangeError(`Cannot unpack strings: string ${strings.length} passes the end`);
    }
    strings.push(bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return strings;
}
