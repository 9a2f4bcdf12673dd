/**
 * What the kernel tells, and is told, in `/proc` and `/sys`, and its devices.
 *
 * Deno opens these for programs with every permission only; a compiled graft has fewer, so they are
 * read through the C library.
 */
export {
  kernelAccess,
  listKernelFolder,
  readKernelFile,
  writeKernelFile,
} from "../../ffi/libc_files.ts";
