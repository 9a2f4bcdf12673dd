/**
 * Vectors of float32 as `.npy` files.
 *
 * Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays", versions 1.0 to 3.0.
 */
import { BadInputError } from "../../errors.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
/** Headers are padded so that the numbers begin at a multiple of this. */
const ALIGNMENT = 64;

/** Encodes a vector as NumPy saves it. */
export function encodeNpy(values: Float32Array): Uint8Array<ArrayBuffer> {
  const fields = `{'descr': '<f4', 'fortran_order': False, 'shape': (${values.length},), }`;
  const before = MAGIC.length + 4;
  const headerLength = Math.ceil((before + fields.length + 1) / ALIGNMENT) * ALIGNMENT - before;
  const out = new Uint8Array(before + headerLength + values.byteLength);
  out.set(MAGIC);
  out.set([1, 0, headerLength & 0xff, headerLength >> 8], MAGIC.length);
  out.set(new TextEncoder().encode(fields.padEnd(headerLength - 1) + "\n"), before);
  const view = new DataView(out.buffer, before + headerLength);
  for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i], true);
  return out;
}

/**
 * Reads a vector of little-endian float32.
 *
 * @param where the vector's name, for messages
 * @throws {BadInputError} for anything else, or numbers that are not finite
 */
export function decodeNpy(bytes: Uint8Array, where: string): Float32Array<ArrayBuffer> {
  const bad = (what: string) => new BadInputError(`${where}: ${what}`);
  if (bytes.length < 12 || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    throw bad("it is no .npy file");
  }
  const major = bytes[6];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (major < 1 || major > 3) throw bad(`it is a .npy file of version ${major}, not 1 to 3`);
  const [start, headerLength] = major === 1
    ? [10, view.getUint16(8, true)]
    : [12, view.getUint32(8, true)];
  if (headerLength > bytes.length - start) throw bad("its header is longer than the file");
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + headerLength));
  if (!/'descr': '<f4'/.test(header)) {
    throw bad(`it must be little-endian float32: ${shown(header)}`);
  }
  const shape = /'shape': \((\d{1,12}),\)/.exec(header);
  if (shape === null) throw bad(`it must have one dimension: ${shown(header)}`);
  const count = Number(shape[1]);
  const data = start + headerLength;
  if (bytes.length - data !== 4 * count) {
    throw bad(`${count} numbers take ${4 * count} bytes: it has ${bytes.length - data}`);
  }
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = view.getFloat32(data + 4 * i, true);
    if (!Number.isFinite(values[i])) throw bad(`number ${i} is ${values[i]}`);
  }
  return values;
}

const shown = (header: string) => JSON.stringify(header.slice(0, 100));
