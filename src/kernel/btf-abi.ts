/**
 * Room `kernel`: numbers of the BPF Type Format (include/uapi/linux/btf.h, Documentation/bpf/btf.rst) and of the relocation records in
 * `.BTF.ext` (enum bpf_core_relo_kind of include/uapi/linux/bpf.h). `test/bpf/object/abi.test.ts` pins them.
 *
 * A newcomer would get wrong: type 0 is void and has no record, so the first record of a table is type 1; in a split table it is
 * the one after the last of its base.
 */
export const BTF_MAGIC = 0xeb9f;
export const BTF_VERSION = 1;

/** struct btf_header, in bytes. Offsets in it count from the header's end. */
export const BTF_HEADER = {
  size: 24,
  magic: 0,
  version: 2,
  flags: 3,
  hdr_len: 4,
  type_off: 8,
  type_len: 12,
  str_off: 16,
  str_len: 20,
} as const;

/** The largest offset that a name may have, and how many types a table may hold. */
export const BTF_MAX_NAME_OFFSET = 0x00ffffff;
export const BTF_MAX_TYPE = 0x000fffff;
/** How many members, values or parameters a type may have. */
export const BTF_MAX_VLEN = 0xffff;

export const BTF_KIND_UNKN = 0;
export const BTF_KIND_INT = 1;
export const BTF_KIND_PTR = 2;
export const BTF_KIND_ARRAY = 3;
export const BTF_KIND_STRUCT = 4;
export const BTF_KIND_UNION = 5;
export const BTF_KIND_ENUM = 6;
export const BTF_KIND_FWD = 7;
export const BTF_KIND_TYPEDEF = 8;
export const BTF_KIND_VOLATILE = 9;
export const BTF_KIND_CONST = 10;
export const BTF_KIND_RESTRICT = 11;
export const BTF_KIND_FUNC = 12;
export const BTF_KIND_FUNC_PROTO = 13;
export const BTF_KIND_VAR = 14;
export const BTF_KIND_DATASEC = 15;
export const BTF_KIND_FLOAT = 16;
export const BTF_KIND_DECL_TAG = 17;
export const BTF_KIND_TYPE_TAG = 18;
export const BTF_KIND_ENUM64 = 19;

// Encoding of an INT.
export const BTF_INT_SIGNED = 1;
export const BTF_INT_CHAR = 2;
export const BTF_INT_BOOL = 4;

// Linkage of a VAR and of a FUNC (in its vlen).
export const BTF_VAR_STATIC = 0;
export const BTF_VAR_GLOBAL_ALLOCATED = 1;
export const BTF_VAR_GLOBAL_EXTERN = 2;
export const BTF_FUNC_STATIC = 0;
export const BTF_FUNC_GLOBAL = 1;
export const BTF_FUNC_EXTERN = 2;

// What a CO-RE record asks (enum bpf_core_relo_kind).
export const BPF_CORE_FIELD_BYTE_OFFSET = 0;
export const BPF_CORE_FIELD_BYTE_SIZE = 1;
export const BPF_CORE_FIELD_EXISTS = 2;
export const BPF_CORE_FIELD_SIGNED = 3;
export const BPF_CORE_FIELD_LSHIFT_U64 = 4;
export const BPF_CORE_FIELD_RSHIFT_U64 = 5;
export const BPF_CORE_TYPE_ID_LOCAL = 6;
export const BPF_CORE_TYPE_ID_TARGET = 7;
export const BPF_CORE_TYPE_EXISTS = 8;
export const BPF_CORE_TYPE_SIZE = 9;
export const BPF_CORE_ENUMVAL_EXISTS = 10;
export const BPF_CORE_ENUMVAL_VALUE = 11;
export const BPF_CORE_TYPE_MATCHES = 12;
