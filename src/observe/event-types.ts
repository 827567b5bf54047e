/**
 * Room `observe`: events and keys as structs of the eBPF language.
 *
 * A newcomer would get wrong: an event's struct has exactly the kernel's offsets, holes included, because the verifier lets a program read
 * a field only whole and where it lies.
 */
import type { EventField, EventFormat } from './tracepoints.ts';

/** What a key is made of. */
export type KeyPart =
  | { readonly kind: 'number'; readonly label: string }
  | { readonly kind: 'comm'; readonly label: string }
  | { readonly kind: 'field'; readonly label: string; readonly field: EventField; readonly type: string };

/** A field's type in the language. What is no number of 1, 2, 4 or 8 bytes is an array of bytes. */
export function typeOfField(field: EventField): string {
  const element = field.bytes / field.length;
  if (!Number.isInteger(element) || ![1, 2, 4, 8].includes(element)) return `array(u8, ${field.bytes})`;
  const number = `${field.signed ? 'i' : 'u'}${element * 8}`;
  return field.length === 1 ? number : `array(${field.text ? 'u8' : number}, ${field.length})`;
}

/** Names that cannot be a field as they stand. */
const fieldName = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`);

/** The declaration of an event's struct. */
export function declareEvent(name: string, { fields }: EventFormat): string {
  const parts: string[] = [];
  let at = 0;
  for (const field of fields) {
    // Fields that lie over each other cannot be in one struct: the first is.
    if (field.offset < at) continue;
    if (field.offset > at) parts.push(`hole${at}: array(u8, ${field.offset - at})`);
    parts.push(`${fieldName(field.name)}: ${typeOfField(field)}`);
    at = field.offset + field.bytes;
  }
  return `const ${name} = packed({ ${parts.join(', ')} });`;
}

/** The fields of a key's struct. */
export function keyParts(parts: readonly KeyPart[]): string {
  const typeOf = (part: KeyPart): string => (part.kind === 'field' ? part.type : part.kind === 'comm' ? 'Comm' : 'u64');
  return parts.map((part, index) => `part${index}: ${typeOf(part)}`).join(', ');
}
