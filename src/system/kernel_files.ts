/**
 * What the kernel tells in `/proc` and `/sys`.
 *
 * Deno opens these for programs with every permission only; a compiled graft has fewer, so they are
 * read through the C library.
 */
export { listKernelFolder, readKernelFile } from "../../ffi/libc_files.ts";
