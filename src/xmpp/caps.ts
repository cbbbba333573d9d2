import { createHash } from 'node:crypto'
import { FORM_NS } from './data-form.ts'
import { encode, type Octets } from './octets.ts'
import type { Element } from './xml.ts'

export const CAPS_NS = 'http://jabber.org/protocol/caps'

/** What a verification string stands for: the content of a disco#info result. */
export type Capabilities = {
  readonly identities: readonly {
    readonly category: string
    readonly type: string
    readonly lang?: string | undefined
    readonly name?: string | undefined
  }[]
  readonly features: readonly string[]
  /** `<x xmlns='jabber:x:data'/>` of XEP-0128. */
  readonly forms: readonly Element[]
}

/**
 * XEP-0115 §5.1. `algorithm` is named as in Node ("sha1"). Forms without a hidden FORM_TYPE do not
 * count (§5.4).
 */
export function verificationString(capabilities: Capabilities, algorithm = 'sha1'): string {
  const identities = capabilities.identities.map(
    ({ category, type, lang = '', name = '' }) => `${category}/${type}/${lang}/${name}`,
  )
  const parts = [...sorted(identities), ...sorted(capabilities.features)]
  const forms = capabilities.forms
    .map((form) => ({ form, type: formType(form) }))
    .filter(({ type }) => type !== undefined)
    .sort((a, b) => compare(encode(a.type as string), encode(b.type as string)))
  for (const { form, type } of forms) {
    parts.push(encode(type as string))
    const fields = form
      .elements('field')
      .filter((field) => field.attr('var') !== 'FORM_TYPE')
      .map((field) => ({ name: encode(field.attr('var') ?? ''), values: valuesOf(field) }))
      .sort((a, b) => compare(a.name, b.name))
    for (const { name, values } of fields) parts.push(name, ...sorted(values))
  }
  const text = parts.map((part) => `${part}<`).join('')
  return createHash(algorithm).update(text, 'latin1').digest('base64')
}

function formType(form: Element): string | undefined {
  if (form.ns !== FORM_NS) return undefined
  const field = form.elements('field').find((candidate) => candidate.attr('var') === 'FORM_TYPE')
  return field?.attr('type') === 'hidden' ? field.child('value')?.text : undefined
}

function valuesOf(field: Element): string[] {
  return field.elements('value').map((value) => value.text)
}

/** By octets (RFC 4790 §9.3), which is not the order of JavaScript's strings. */
function sorted(texts: readonly string[]): Octets[] {
  return texts.map(encode).sort(compare)
}

function compare(a: Octets, b: Octets): number {
  return a < b ? -1 : Number(a > b)
}
