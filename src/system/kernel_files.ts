/**
 * What the kernel tells in `/proc` and `/sys`, and its devices.
 *
 * Deno opens these for programs with every permission only; a compiled graft has fewer, so they are
 * read through the C library.
 */
export { kernelAccess, listKernelFolder, readKernelFile } from "../../ffi/libc_files.ts";
