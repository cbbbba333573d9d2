import type { Octets } from './octets.ts'
import { escapeAttribute } from './xml.ts'
import type { Frame } from './xml-frame.ts'

/** The `xml:lang` of a stream, escaped, for those of its stanzas that have none (RFC 6120 §4.7.4). */
export function langOf(header: Frame): Octets | undefined {
  const lang = header.attribute('xml:lang')
  return lang === undefined ? undefined : escapeAttribute(lang)
}
