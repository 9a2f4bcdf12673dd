/** The few functions of the C library that Deno has no equivalent for. Linux with glibc. */
import { cString, type Handle, readCString } from "./pointer.ts";

const SYMBOLS = {
  // int open(const char* pathname, int flags)
  open: { parameters: ["buffer", "i32"], result: "i32" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
  // void* mmap(void* addr, size_t length, int prot, int flags, int fd, off_t offset)
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  // int munmap(void* addr, size_t length)
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  // int* __errno_location(void)
  __errno_location: { parameters: [], result: "pointer" },
  // int malloc_trim(size_t pad)
  malloc_trim: { parameters: ["usize"], result: "i32" },
  // char* strerror(int errnum)
  strerror: { parameters: ["i32"], result: "pointer" },
} as const;

let library: Deno.DynamicLibrary<typeof SYMBOLS> | undefined;

function libc() {
  return (library ??= Deno.dlopen("libc.so.6", SYMBOLS)).symbols;
}

// Values of Linux's generic ABI, the same on x86-64 and arm64.
const O_RDONLY = 0;
const O_CLOEXEC = 0o2000000;
const PROT_READ = 1;
const MAP_PRIVATE = 2;
/** `(void*) -1` */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** What the last failed call of this thread reports. */
function lastError(): string {
  const errno = libc().__errno_location();
  if (errno === null) return "unknown error";
  return readCString(libc().strerror(new Deno.UnsafePointerView(errno).getInt32()));
}

/** A mapping of a file: unmap it with {@linkcode unmap}. */
export interface Mapping {
  readonly address: Handle;
  readonly sizeBytes: number;
}

/**
 * Maps the first `sizeBytes` (at least 1) of a file read-only.
 *
 * @throws {Error} with the C library's reason
 */
export function mapReadOnly(path: string, sizeBytes: number): Mapping {
  const { open, mmap, close } = libc();
  const fd = open(cString(path), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw new Error(lastError());
  try {
    const address = mmap(null, BigInt(sizeBytes), PROT_READ, MAP_PRIVATE, fd, 0n);
    if (address === null || BigInt(Deno.UnsafePointer.value(address)) === MAP_FAILED) {
      throw new Error(lastError());
    }
    return { address, sizeBytes };
  } finally {
    // The mapping holds the file by itself.
    close(fd);
  }
}

/** Ends a mapping: nothing may read it any more. */
export function unmap({ address, sizeBytes }: Mapping): void {
  if (libc().munmap(address, BigInt(sizeBytes)) !== 0) throw new Error(lastError());
}

/** Gives pages that were allocated and freed back to the system. */
export function trimHeap(): void {
  libc().malloc_trim(0n);
}

const RTLD_LAZY = 1;
const RTLD_NODELETE = 0x1000;

const DLOPEN = {
  // void* dlopen(const char* filename, int flags)
  dlopen: { parameters: ["buffer", "i32"], result: "pointer", optional: true },
} as const;

/** Where `dlopen` is: in the C library since glibc 2.34, before that in a library of its own. */
const DLOPEN_LIBRARIES = ["libc.so.6", "libdl.so.2"];

/**
 * Keeps an open library in memory until the process ends. Deno unloads a worker's libraries with the
 * worker, while threads of the process that called into them still have destructors there to run.
 *
 * @param libraries names of those to look for `dlopen` in
 * @returns whether one has it and took the path
 */
export function keepLoaded(path: string, libraries = DLOPEN_LIBRARIES): boolean {
  for (const name of libraries) {
    const library = Deno.dlopen(name, DLOPEN);
    try {
      const handle = library.symbols.dlopen?.(cString(path), RTLD_LAZY | RTLD_NODELETE);
      if (handle !== undefined) return handle !== null;
    } finally {
      library.close();
    }
  }
  return false;
}
