/** Pixels of PNG files, as far as tests need them: 8 bits, RGB or RGBA, without interlacing. */
import { inflateSync } from "node:zlib";
import { concat } from "@std/bytes/concat";

const SIGNATURE = "89504e470d0a1a0a";

/** A decoded picture. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue at a place. */
  at(x: number, y: number): readonly number[];
}

function viewOf(png: Uint8Array): DataView {
  if (png.slice(0, 8).toHex() !== SIGNATURE) throw new Error("It has no signature of PNG");
  return new DataView(png.buffer, png.byteOffset, png.byteLength);
}

/** Width and height that a PNG file states. */
export function pngSize(png: Uint8Array): readonly [width: number, height: number] {
  const view = viewOf(png);
  return [view.getUint32(16), view.getUint32(20)];
}

/**
 * Decodes a PNG file.
 *
 * Source: PNG specification, third edition, sections 5 and 9.
 */
export function pngPixels(png: Uint8Array): Pixels {
  const view = viewOf(png);
  const chunks: Record<string, Uint8Array[]> = {};
  for (let at = 8; at < png.length;) {
    const size = view.getUint32(at);
    const type = new TextDecoder().decode(png.subarray(at + 4, at + 8));
    (chunks[type] ??= []).push(png.subarray(at + 8, at + 8 + size));
    at += size + 12;
  }
  const [width, height] = pngSize(png);
  const [depth, colour, , , interlaced] = chunks.IHDR[0].subarray(8);
  const channels = ({ 2: 3, 6: 4 } as Record<number, number>)[colour];
  if (depth !== 8 || channels === undefined || interlaced !== 0) {
    throw new Error(`No PNG that is decoded here: ${depth} bits, colour type ${colour}`);
  }
  const filtered = inflateSync(concat(chunks.IDAT));
  const stride = width * channels;
  const bytes = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = filtered[y * (stride + 1)];
    for (let i = 0; i < stride; i++) {
      const left = i < channels ? 0 : bytes[y * stride + i - channels];
      const up = y === 0 ? 0 : bytes[(y - 1) * stride + i];
      const corner = i < channels || y === 0 ? 0 : bytes[(y - 1) * stride + i - channels];
      bytes[y * stride + i] = filtered[y * (stride + 1) + 1 + i] +
        predicted(filter, left, up, corner);
    }
  }
  return {
    width,
    height,
    at: (x, y) => [...bytes.subarray(y * stride + x * channels, y * stride + x * channels + 3)],
  };
}

function predicted(filter: number, left: number, up: number, corner: number): number {
  if (filter < 3) return filter === 0 ? 0 : filter === 1 ? left : up;
  if (filter === 3) return (left + up) >> 1;
  // Paeth's: the nearest of the three to their plane.
  const [a, b, c] = [up - corner, left - corner, left + up - 2 * corner].map(Math.abs);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
