/** Mesa's Vulkan on the processor: a device with a memory of its own, for want of a GPU. */

const DRIVER = "/usr/share/vulkan/icd.d/lvp_icd.json";

/** Why it cannot be used, `undefined` where it can; graphs that run on WebGPU then run on it. */
export function softwareVulkanMissing(): string | undefined {
  if (Deno.build.arch !== "x86_64") return "ONNX Runtime has WebGPU on x64 alone";
  try {
    Deno.statSync(DRIVER);
  } catch {
    return "mesa-vulkan-drivers is not installed";
  }
  Deno.env.set("VK_ICD_FILENAMES", DRIVER);
  return undefined;
}
