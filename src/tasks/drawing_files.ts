/** What pictures are drawn with: from the checkout's packages, or from the binary. */
import type { DrawingFiles } from "../analysis/report/png.ts";
import { CARRIED, carriedPath } from "../system/embedded.ts";
import { openMapped } from "../system/mapped_file.ts";

/**
 * Maps the files into memory.
 *
 * @throws {BadInputError} if the packages are not installed
 */
export function openDrawingFiles(): DrawingFiles & Disposable {
  using files = new DisposableStack();
  const [renderer, font] = [CARRIED.renderer, CARRIED.font].map((path) =>
    files.use(openMapped(carriedPath(path))).bytes
  );
  const held = files.move();
  return { renderer, font, [Symbol.dispose]: () => held.dispose() };
}
