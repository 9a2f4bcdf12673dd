/** Remedies for an execution provider that does not load. */
import { asProperty, type NameParameter } from "../errors.ts";

type Remedy = readonly [
  pattern: RegExp,
  remedy: (name: NameParameter, ...groups: string[]) => string,
];

const FOLDER = "or name its folder in LD_LIBRARY_PATH before graft starts";

/** Remedies by messages of the dynamic loader, CUDA or TensorRT. */
const REMEDIES: readonly Remedy[] = [
  [
    /libonnxruntime_providers_\w+\.so: cannot open shared object file/,
    () =>
      "this build comes without its provider libraries: point GRAFT_ORT_LIB at the " +
      "libonnxruntime of a GPU build, with them beside it",
  ],
  [
    /lib(?:cublas|cublasLt|cudart|cufft|curand|cusparse|nvrtc)\.so\.(\d+)\S*: cannot open/,
    (_, major) => `it was built for CUDA ${major}: install that release, ${FOLDER}`,
  ],
  [
    /libcudnn\w*\.so\.(\d+)\S*: cannot open/,
    (_, major) => `it was built for cuDNN ${major}: install that release, ${FOLDER}`,
  ],
  [
    /lib(?:nvinfer|nvonnxparser)\w*\.so\.(\d+)\S*: cannot open/,
    (_, major) => `it was built for TensorRT ${major}: install that release, ${FOLDER}`,
  ],
  [/libcuda\.so\S*: cannot open/, () => "NVIDIA's driver is not installed"],
  [
    /version `GLIBC(?:XX)?_[\d.]+' not found/,
    () => "it was built for a later system: take the build for this release of JetPack",
  ],
  [
    /no CUDA-capable device|CUDA failure 100\b/,
    () => "no GPU can be seen: in a container it must be passed through (`--runtime nvidia`)",
  ],
  [
    /driver version is insufficient|CUDA failure 35\b/,
    () => "the driver is older than this build's CUDA: update it, or take a build for an older one",
  ],
  [
    /no kernel image|CUDA failure 209\b/,
    () => "the build has no code for this GPU: take one for its architecture (Orin: sm_87)",
  ],
  [
    /WebGPU adapter/,
    () => "no Vulkan driver shows a device: Debian has them as mesa-vulkan-drivers",
  ],
  [
    /out of memory|CUDA failure 2\b/,
    (name) =>
      `end other programs that use the GPU, or set ${
        name("epOption", "gpu_mem_limit=BYTES")
      } lower`,
  ],
];

/** `: remedy`, or nothing if no reason is known. */
export function whatToDo(failure: string, name: NameParameter = asProperty): string {
  for (const [pattern, remedy] of REMEDIES) {
    const found = pattern.exec(failure);
    if (found !== null) return `: ${remedy(name, ...found.slice(1))}`;
  }
  return "";
}
