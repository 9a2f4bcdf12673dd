/**
 * Access to the kernel's files in `/proc` and `/sys`, and to devices.
 *
 * Deno opens these only for programs with all permissions; a compiled graft has fewer, so they are read
 * through the C library.
 */
export {
  kernelAccess,
  listKernelFolder,
  readKernelFile,
  writeKernelFile,
} from "../../ffi/libc_files.ts";
