/** SVG as PNG, by resvg (https://github.com/linebender/resvg) in WebAssembly. */
import { initWasm, Resvg } from "@resvg/resvg-wasm";

/** What drawing takes besides the picture. */
export interface DrawingFiles {
  /** resvg's WebAssembly: `index_bg.wasm` of its package. */
  readonly renderer: Uint8Array<ArrayBuffer>;
  /** A TrueType font with Greek letters, for all texts. */
  readonly font: Uint8Array;
}

/** There is one resvg in a program. */
let started: Promise<void> | undefined;

/**
 * Starts resvg, the first time.
 *
 * @returns what draws the text of an SVG file, each of its pixels as `scale` × `scale` ones: the bytes of a
 * PNG file. It reads nothing else: pictures inside of the picture are left out.
 */
export async function pngPainter(
  { renderer, font }: DrawingFiles,
): Promise<(svg: string, scale: number) => Uint8Array> {
  await (started ??= initWasm(renderer));
  return (svg, scale) => {
    const drawing = new Resvg(svg, {
      font: { fontBuffers: [font] },
      fitTo: { mode: "zoom", value: scale },
    });
    try {
      const image = drawing.render();
      try {
        return image.asPng();
      } finally {
        image.free();
      }
    } finally {
      drawing.free();
    }
  };
}
