/** Whether a driver shows an NVIDIA GPU. */
import { kernelAccess } from "./kernel_files.ts";

/** Device nodes of NVIDIA's drivers: of discrete cards, and of Jetsons. */
const GPU_NODES = ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu/igpu0/ctrl"];

/** Device nodes that show an NVIDIA GPU. */
export function gpuNodes(
  exists: (path: string) => boolean = (path) => kernelAccess(path, "exists"),
): readonly string[] {
  return GPU_NODES.filter(exists);
}
