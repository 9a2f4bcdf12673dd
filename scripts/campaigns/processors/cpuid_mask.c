/*
 * Hides instruction sets of an x86 processor from a process and from what it starts, so that libraries
 * take the kernels that they have for others, at full speed:
 *
 *   gcc -shared -fPIC -O2 -o cpuid_mask.so cpuid_mask.c -ldl
 *   CPUID_LEVEL=2 LD_PRELOAD=$PWD/cpuid_mask.so program
 *
 * CPUID_LEVEL 1 hides AMX, 2 AVX-512 and VNNI, too, 3 AVX2 and FMA, too.
 *
 * Linux can make the instruction `cpuid` fault where the processor can (`cpuid_fault` in /proc/cpuinfo);
 * the handler here runs it and clears bits of its answer. Ends the process with 69 where it cannot.
 *
 * With CPUID_COPY it is one library that sees another processor, on any x86: the copy of it at that path,
 * in which the equally long `int 0xa2` stands for `cpuid`, is opened in its place. A program may not raise
 * that interrupt, so that it faults, too.
 *
 * Source of the bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define BIT(n) (1u << (n))

typedef void *(*dlopen_t)(const char *, int);
typedef int (*sigaction_t)(int, const struct sigaction *, struct sigaction *);

static int level;
static dlopen_t next_dlopen;
static sigaction_t next_sigaction;
/* The copy of a library; NULL where each `cpuid` of the process faults. */
static const char *copy;
/* What the program wants done about faults that are its own. */
static struct sigaction programs;

static long allow_cpuid(long allowed) {
  return copy ? 0 : syscall(SYS_arch_prctl, ARCH_SET_CPUID, allowed);
}

static void clear_bits(unsigned leaf, unsigned subleaf, unsigned *a, unsigned *b, unsigned *c,
                       unsigned *d) {
  if (leaf == 1 && level >= 3) *c &= ~BIT(12); /* FMA */
  if (leaf != 7) return;
  if (subleaf == 0) {
    if (level >= 1) *d &= ~(BIT(22) | BIT(24) | BIT(25)); /* AMX-BF16, AMX-TILE, AMX-INT8 */
    if (level >= 2) {
      /* AVX512 F, DQ, IFMA, PF, ER, CD, BW, VL */
      *b &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31));
      /* AVX512 VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
      *c &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14));
      /* AVX512 4VNNIW, 4FMAPS, VP2INTERSECT, FP16 */
      *d &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(23));
    }
    if (level >= 3) *b &= ~BIT(5); /* AVX2 */
  }
  if (subleaf == 1) {
    if (level >= 1) *a &= ~BIT(21); /* AMX-FP16 */
    if (level >= 2) {
      *a &= ~(BIT(4) | BIT(5) | BIT(23));          /* AVX-VNNI, AVX512-BF16, AVX-IFMA */
      *d &= ~(BIT(4) | BIT(5) | BIT(10) | BIT(19)); /* AVX-VNNI-INT8, NE-CONVERT, INT16, AVX10 */
    }
  }
}

static int is_cpuid(const siginfo_t *info, const unsigned char *instruction) {
  /* It is a general protection fault, which has no address. */
  return info->si_code == SI_KERNEL && instruction &&
         instruction[0] == (copy ? 0xcd : 0x0f) && instruction[1] == 0xa2;
}

static void on_fault(int signal_number, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  if (is_cpuid(info, (const unsigned char *)registers[REG_RIP])) {
    unsigned leaf = (unsigned)registers[REG_RAX], subleaf = (unsigned)registers[REG_RCX];
    unsigned a, b, c, d;
    allow_cpuid(1);
    __asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(leaf), "c"(subleaf));
    allow_cpuid(0);
    clear_bits(leaf, subleaf, &a, &b, &c, &d);
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
    return;
  }
  if (programs.sa_flags & SA_SIGINFO) {
    programs.sa_sigaction(signal_number, info, context);
  } else if (programs.sa_handler != SIG_DFL && programs.sa_handler != SIG_IGN) {
    programs.sa_handler(signal_number);
  } else {
    /* The instruction runs once more, and ends the process. */
    struct sigaction as_usual = {.sa_handler = SIG_DFL};
    next_sigaction(signal_number, &as_usual, NULL);
  }
}

/* The program's handlers of SIGSEGV get what this one does not know. */
int sigaction(int signal_number, const struct sigaction *action, struct sigaction *old) {
  if (!next_sigaction) next_sigaction = (sigaction_t)dlsym(RTLD_NEXT, "sigaction");
  if (signal_number != SIGSEGV || !level) return next_sigaction(signal_number, action, old);
  if (old) *old = programs;
  if (action) programs = *action;
  return 0;
}

static const char *name_of(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* Other releases have the same name, and another size. */
static int is_copied(const char *path) {
  struct stat original, copied;
  return strcmp(name_of(path), name_of(copy)) == 0 && stat(path, &original) == 0 &&
         stat(copy, &copied) == 0 && original.st_size == copied.st_size;
}

/* What opens the library opens its copy. */
void *dlopen(const char *path, int flags) {
  if (!next_dlopen) next_dlopen = (dlopen_t)dlsym(RTLD_NEXT, "dlopen");
  return next_dlopen(copy && path && is_copied(path) ? copy : path, flags);
}

__attribute__((constructor)) static void start(void) {
  const char *asked = getenv("CPUID_LEVEL");
  if (!asked) return;
  copy = getenv("CPUID_COPY");
  next_sigaction = (sigaction_t)dlsym(RTLD_NEXT, "sigaction");
  struct sigaction mine = {.sa_sigaction = on_fault,
                           .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  next_sigaction(SIGSEGV, &mine, &programs);
  if (allow_cpuid(0) != 0) {
    static const char why[] = "cpuid_mask: this processor or kernel cannot make cpuid fault\n";
    (void)!write(STDERR_FILENO, why, sizeof why - 1);
    _exit(69);
  }
  level = atoi(asked);
}
