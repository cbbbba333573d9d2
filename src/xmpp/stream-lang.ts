import { NO_OCTETS, type Octets } from './octets.ts'
import { escapeAttribute } from './xml.ts'
import type { Frame } from './xml-frame.ts'

/** Most streams have the same, and keep it. */
let lastLang = ''
let lastEscaped = NO_OCTETS

/** The `xml:lang` of a stream, escaped, for those of its stanzas that have none (RFC 6120 §4.7.4). */
export function langOf(header: Frame): Octets | undefined {
  const lang = header.attribute('xml:lang')
  if (lang === undefined) return undefined
  if (lang !== lastLang) {
    lastLang = lang
    lastEscaped = escapeAttribute(lang)
  }
  return lastEscaped
}
