/** Tensors → safetensors bytes, equal to those of Python's writer. */
import { concat } from "@std/bytes/concat";
import { byteLength } from "../graph/dtype.ts";
import { elementCount, type Tensor } from "../graph/tensor.ts";
import { nameOfDtype, rankOfDtype } from "./dtype.ts";

const text = new TextEncoder();

/** Compares by code points, as Rust compares strings; JavaScript compares UTF-16 units. */
function compareNames(a: string, b: string): number {
  const x = text.encode(a), y = text.encode(b);
  const shared = Math.min(x.length, y.length);
  for (let i = 0; i < shared; i++) if (x[i] !== y[i]) return x[i] - y[i];
  return x.length - y.length;
}

/**
 * The bytes of a safetensors file. Tensors come widest type first, then by name; metadata by key.
 *
 * @param metadata PEFT and transformers require `{format: "pt"}`.
 * @throws {TypeError} for a type the format lacks; {@linkcode RangeError} for a tensor whose bytes
 * do not fit its shape, or one called `__metadata__`.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  return concat(safetensorsParts(tensors, metadata));
}

/**
 * The parts that {@linkcode encodeSafetensors} joins: the header, and the tensors' own bytes, which are
 * not copied.
 */
export function safetensorsParts(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): readonly Uint8Array[] {
  const sorted = [...tensors].sort(([aName, a], [bName, b]) =>
    rankOfDtype(b.dtype) - rankOfDtype(a.dtype) || compareNames(aName, bName)
  );
  const header: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) {
    const entries = Object.entries(metadata).sort(([a], [b]) => compareNames(a, b));
    header.push(["__metadata__", Object.fromEntries(entries)]);
  }
  let end = 0;
  for (const [name, { dtype, dims, bytes }] of sorted) {
    const type = nameOfDtype(dtype);
    if (type === undefined) {
      throw new TypeError(`Cannot save tensor "${name}": safetensors has no type ${dtype}`);
    }
    if (name === "__metadata__") throw new RangeError('No tensor can be named "__metadata__"');
    const needed = byteLength(dtype, elementCount(dims));
    if (bytes.byteLength !== needed) {
      throw new RangeError(
        `Cannot save tensor "${name}": ${dtype}[${dims}] needs ${needed} bytes: current value is ${bytes.byteLength}`,
      );
    }
    header.push([name, { dtype: type, shape: dims, data_offsets: [end, end += needed] }]);
  }
  const json = text.encode(formatHeader(header));
  // Padded with spaces so that the data begins on a multiple of 8.
  const headerBytes = Math.ceil(json.byteLength / 8) * 8;
  const start = new Uint8Array(8 + headerBytes);
  new DataView(start.buffer).setBigUint64(0, BigInt(headerBytes), true);
  start.set(json, 8);
  start.fill(0x20, 8 + json.byteLength);
  return [start, ...sorted.map(([, { bytes }]) => bytes)];
}

/** Formats the header without an object, which would reorder keys that look like integers. */
function formatHeader(entries: readonly [string, unknown][]): string {
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`).join(",")}}`;
}
