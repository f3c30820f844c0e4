"""What `cpu.march` may be, and the CPU flags that code compiled for it needs.

The levels of x86-64 are hardware/cpu_level.py's; the CPUs are named as GCC 14 names them (GCC's manual,
"x86 Options"), and what each has is what GCC takes it to have: the macros that it predefines for the
name, put into the words of /proc/cpuinfo. A native test compares this table with the tools tree's GCC.
Not for: llama.cpp's own options (wheels.py) or which of its variants a machine runs (agentd).
"""

from collections.abc import Iterable

from hardware.cpu_level import LEVELS, flags_of

# A level and what the CPUs have beyond it, as far as a compiler uses it of its own accord or llama.cpp asks.
NAMED = {
    "k8 opteron athlon64 athlon-fx": "x86-64 3dnow 3dnowext",
    "k8-sse3 opteron-sse3 athlon64-sse3": "x86-64 3dnow 3dnowext pni",
    "amdfam10 barcelona": "x86-64 3dnow 3dnowext abm cx16 lahf_lm pni popcnt sse4a",
    "btver1": "x86-64 abm cx16 lahf_lm pni popcnt sse4a ssse3 xsave",
    "btver2": "x86-64-v2 abm avx bmi1 f16c movbe sse4a xsave",
    "bdver1": "x86-64-v2 abm avx fma4 sse4a xop xsave",
    "bdver2 bdver3": "x86-64-v2 abm avx bmi1 f16c fma fma4 sse4a tbm xop xsave",
    "bdver4": "x86-64-v3 fma4 sse4a tbm xop",
    "znver1 znver2 znver3": "x86-64-v3 sse4a",
    "znver4": "x86-64-v4 avx512_bf16 avx512_bitalg avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma"
    " avx512vbmi gfni sse4a",
    "znver5": "x86-64-v4 avx512_bf16 avx512_bitalg avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma"
    " avx512vbmi avx_vnni gfni sse4a",
    "nocona": "x86-64 cx16 pni",
    "core2": "x86-64 cx16 lahf_lm pni ssse3",
    "nehalem corei7 westmere": "x86-64-v2",
    "sandybridge corei7-avx": "x86-64-v2 avx xsave",
    "ivybridge core-avx-i": "x86-64-v2 avx f16c xsave",
    "haswell core-avx2 broadwell skylake": "x86-64-v3",
    "alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake pantherlake": "x86-64-v3 avx_vnni gfni",
    "skylake-avx512": "x86-64-v4",
    "cascadelake": "x86-64-v4 avx512_vnni",
    "cooperlake": "x86-64-v4 avx512_bf16 avx512_vnni",
    "cannonlake": "x86-64-v4 avx512ifma avx512vbmi",
    "icelake-client icelake-server rocketlake tigerlake": "x86-64-v4 avx512_bitalg avx512_vbmi2 avx512_vnni"
    " avx512_vpopcntdq avx512ifma avx512vbmi gfni",
    "sapphirerapids emeraldrapids graniterapids graniterapids-d": "x86-64-v4 amx_bf16 amx_int8 amx_tile"
    " avx512_bf16 avx512_bitalg avx512_fp16 avx512_vbmi2 avx512_vnni avx512_vpopcntdq avx512ifma"
    " avx512vbmi avx_vnni gfni",
    "knl": "x86-64-v3 avx512cd avx512er avx512f avx512pf",
    "knm": "x86-64-v3 avx512_4fmaps avx512_4vnniw avx512_vpopcntdq avx512cd avx512er avx512f avx512pf",
    "bonnell atom": "x86-64 cx16 lahf_lm movbe pni ssse3",
    "silvermont slm": "x86-64-v2 movbe",
    "goldmont goldmont-plus": "x86-64-v2 movbe xsave",
    "tremont": "x86-64-v2 gfni movbe xsave",
    "gracemont sierraforest grandridge clearwaterforest": "x86-64-v3 avx_vnni gfni",
    "eden-x2": "x86-64 lahf_lm pni",
    "nano nano-1000 nano-2000": "x86-64 lahf_lm pni ssse3",
    "nano-3000 nano-x2 eden-x4 nano-x4": "x86-64 lahf_lm pni sse4_1 ssse3",
    "lujiazui": "x86-64-v2 abm bmi1 bmi2 movbe xsave",
    "yongfeng": "x86-64-v3",
}

# What GCC predefines for an instruction set, and what Linux calls it (arch/x86/include/asm/cpufeatures.h).
WORDS = {
    "__3dNOW__": "3dnow",
    "__3dNOW_A__": "3dnowext",
    "__ABM__": "abm",
    "__AMX_BF16__": "amx_bf16",
    "__AMX_INT8__": "amx_int8",
    "__AMX_TILE__": "amx_tile",
    "__AVX2__": "avx2",
    "__AVX5124FMAPS__": "avx512_4fmaps",
    "__AVX5124VNNIW__": "avx512_4vnniw",
    "__AVX512BF16__": "avx512_bf16",
    "__AVX512BITALG__": "avx512_bitalg",
    "__AVX512BW__": "avx512bw",
    "__AVX512CD__": "avx512cd",
    "__AVX512DQ__": "avx512dq",
    "__AVX512ER__": "avx512er",
    "__AVX512FP16__": "avx512_fp16",
    "__AVX512F__": "avx512f",
    "__AVX512IFMA__": "avx512ifma",
    "__AVX512PF__": "avx512pf",
    "__AVX512VBMI2__": "avx512_vbmi2",
    "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VL__": "avx512vl",
    "__AVX512VNNI__": "avx512_vnni",
    "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    "__AVXVNNI__": "avx_vnni",
    "__AVX__": "avx",
    "__BMI2__": "bmi2",
    "__BMI__": "bmi1",
    "__CRC32__": "sse4_2",
    "__F16C__": "f16c",
    "__FMA4__": "fma4",
    "__FMA__": "fma",
    "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16": "cx16",
    "__GFNI__": "gfni",
    "__LAHF_SAHF__": "lahf_lm",
    "__LZCNT__": "abm",
    "__MOVBE__": "movbe",
    "__POPCNT__": "popcnt",
    "__SSE3__": "pni",
    "__SSE4A__": "sse4a",
    "__SSE4_1__": "sse4_1",
    "__SSE4_2__": "sse4_2",
    "__SSSE3__": "ssse3",
    "__TBM__": "tbm",
    "__XOP__": "xop",
    "__XSAVE__": "xsave",
}

# Of these Linux 6.12 has no word, so a machine could not tell whether it has them: they are not used.
UNNAMED = {
    "__AVXIFMA__": "avxifma",
    "__AVXNECONVERT__": "avxneconvert",
    "__AVXVNNIINT16__": "avxvnniint16",
    "__AVXVNNIINT8__": "avxvnniint8",
    "__CMPCCXADD__": "cmpccxadd",
    "__PREFETCHWT1__": "prefetchwt1",
}

# Used only where a program names them, and llama.cpp names none: firmware and hypervisors hide some of
# them, and a CPU must not be refused for that.
ON_REQUEST = (
    "ADX AES AMX_COMPLEX AMX_FP16 AVX512VP2INTERSECT CLDEMOTE CLFLUSHOPT CLWB CLZERO ENQCMD FSGSBASE HRESET"
    " KL LWP MOVDIR64B MOVDIRI MWAITX PCLMUL PCONFIG PKU PREFETCHI PRFCHW PTWRITE RDPID RDRND RDSEED"
    " SERIALIZE SGX SHA SHA512 SM3 SM4 TSXLDTRK UINTR USER_MSR VAES VPCLMULQDQ WAITPKG WBNOINVD WIDEKL"
    " XSAVEC XSAVEOPT XSAVES"
)

# Families and models of CPUID (GCC's own table: get_intel_cpu and get_amd_cpu of its cpuinfo.h). Where one
# model number stands for several CPUs, their flags tell them apart: the first that fits, the newest first.
INTEL_6 = {
    "core2": (0x0F, 0x17, 0x1D),
    "nehalem": (0x1A, 0x1E, 0x1F, 0x2E),
    "westmere": (0x25, 0x2C, 0x2F),
    "sandybridge": (0x2A, 0x2D),
    "ivybridge": (0x3A, 0x3E),
    "haswell": (0x3C, 0x3F, 0x45, 0x46),
    "broadwell": (0x3D, 0x47, 0x4F, 0x56),
    "skylake": (0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6),
    "cooperlake": (0x55,),
    "cascadelake": (0x55,),
    "skylake-avx512": (0x55,),
    "cannonlake": (0x66,),
    "icelake-client": (0x7D, 0x7E, 0x9D),
    "icelake-server": (0x6A, 0x6C),
    "rocketlake": (0xA7,),
    "tigerlake": (0x8C, 0x8D),
    "alderlake": (0x97, 0x9A),
    "raptorlake": (0xB7, 0xBA, 0xBF),
    "meteorlake": (0xAA, 0xAC),
    "arrowlake": (0xB5, 0xC5),
    "arrowlake-s": (0xC6,),
    "lunarlake": (0xBD,),
    "pantherlake": (0xCC,),
    "sapphirerapids": (0x8F,),
    "emeraldrapids": (0xCF,),
    "graniterapids": (0xAD,),
    "graniterapids-d": (0xAE,),
    "bonnell": (0x1C, 0x26),
    "silvermont": (0x37, 0x4A, 0x4D, 0x5A, 0x5D),
    "goldmont": (0x5C, 0x5F),
    "goldmont-plus": (0x7A,),
    "tremont": (0x86, 0x96, 0x9C),
    "gracemont": (0xBE,),
    "sierraforest": (0xAF,),
    "grandridge": (0xB6,),
    "clearwaterforest": (0xDD,),
}
AMD = {
    "bdver1": (0x15, range(0x02)),
    "bdver2": (0x15, range(0x02, 0x20)),
    "bdver3": (0x15, range(0x30, 0x50)),
    "bdver4": (0x15, range(0x60, 0x80)),
    "btver1": (0x14, range(0x10)),
    "btver2": (0x16, range(0x40)),
    "znver1": (0x17, range(0x30)),
    "znver2": (0x17, range(0x30, 0xB0)),
    "znver4": (0x19, (*range(0x10, 0x20), *range(0x60, 0x80), *range(0xA0, 0xB0))),
    "znver3": (0x19, (*range(0x10), *range(0x20, 0x60))),
    "znver5": (0x1A, range(0x80)),
}

_CPUS = {name: words.split() for names, words in NAMED.items() for name in names.split()}
NAMES = (*LEVELS, *_CPUS)


def flags(march: str) -> frozenset[str]:
    """The words of /proc/cpuinfo that code for a level or a CPU needs; KeyError if GCC has no such name."""
    if march in LEVELS:
        return flags_of(march)
    level, *more = _CPUS[march]
    return flags_of(level).union(more)


def options(march: str) -> list[str]:
    """GCC's options that compile for a level or a CPU what its `flags` allow. KeyError as above."""
    if march in LEVELS:
        return [f"-march={march}"]
    _CPUS[march]  # one that GCC knows
    return [f"-march={march}", *(f"-mno-{name}" for name in UNNAMED.values())]


def tuning(march: str) -> str:
    """The CPU for whose pace code is ordered: a named one, "" for a level, which is many."""
    return "" if march in LEVELS else march


def flags_of_macros(macros: Iterable[str]) -> frozenset[str]:
    """The words of /proc/cpuinfo that code needs for which GCC predefines these macros."""
    return flags_of("x86-64").union(WORDS[macro] for macro in macros if macro in WORDS)


def name(vendor: str, family: int | None, model: int | None, have: Iterable[str]) -> str:
    """GCC's name of a CPU by CPUID's vendor, family and model, "" for one that it does not name.

    Only where the CPU has all the flags that the name stands for: Celerons lack some, and so may a guest.
    """
    if vendor == "GenuineIntel" and family == 6:
        fits = [name for name, models in INTEL_6.items() if model in models]
    elif vendor == "AuthenticAMD":
        fits = [name for name, (its, models) in AMD.items() if family == its and model in models]
    else:
        return ""
    flags_there = frozenset(have)
    return next((name for name in fits if flags_there.issuperset(flags(name))), "")
