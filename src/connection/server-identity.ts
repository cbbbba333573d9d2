/** Which domains' XMPP services a certificate speaks for (RFC 6120 §13.7, RFC 9525). */
import type { X509Certificate } from 'node:crypto'
import { JidError, prepareDomainpart } from '../xmpp/jid.ts'
import { SERVICE_NAME, XMPP_ADDRESS } from './certificate.ts'
import { type DerValue, dotted, readDer, tags } from './der.ts'
import { asciiDomain, coversDomain } from './tls.ts'

const SUBJECT_ALT_NAME = '2.5.29.17'
/** Context-specific and constructed: `[0]` and `[3]`. */
const OTHER_NAME = 0xa0
const EXTENSIONS = 0xa3
const SERVICE = '_xmpp-server.'

/**
 * Whether one of its names is that of `domain`, a canonical domainpart: a DNS-ID, wildcards included,
 * an SRV-ID for servers, or an xmppAddr. Common names do not count (RFC 9525 §2). What the
 * certificate itself is worth is another question.
 */
export function namesDomain(certificate: X509Certificate, domain: string): boolean {
  if (coversDomain(certificate, domain)) return true
  const service = `${SERVICE}${asciiDomain(domain)}`
  return otherNames(certificate).some(({ type, text }) => {
    if (type === SERVICE_NAME) return text.toLowerCase() === service
    return type === XMPP_ADDRESS && canonical(text) === domain
  })
}

type OtherName = { readonly type: string; readonly text: string }

function otherNames({ raw }: X509Certificate): OtherName[] {
  try {
    const [certificate] = readDer(raw)
    const [toBeSigned] = children(certificate)
    const holder = children(toBeSigned).find(({ tag }) => tag === EXTENSIONS)
    const [all] = children(holder)
    for (const extension of children(all)) {
      const parts = children(extension)
      if (parts[0] === undefined || dotted(parts[0].content) !== SUBJECT_ALT_NAME) continue
      const [names] = children(parts.at(-1))
      return children(names).flatMap(otherName)
    }
  } catch (error) {
    // One that cannot be read names nobody.
    if (!(error instanceof RangeError)) throw error
  }
  return []
}

function otherName(name: DerValue): OtherName[] {
  if (name.tag !== OTHER_NAME) return []
  const [type, wrapped] = children(name)
  const [value] = children(wrapped)
  if (type?.tag !== tags.objectIdentifier || value === undefined) return []
  const isText = value.tag === tags.utf8String || value.tag === tags.ia5String
  return isText ? [{ type: dotted(type.content), text: value.content.toString('utf8') }] : []
}

function children(value: DerValue | undefined): DerValue[] {
  return value === undefined ? [] : readDer(value.content)
}

function canonical(domain: string): string | undefined {
  try {
    return prepareDomainpart(domain)
  } catch (error) {
    if (error instanceof JidError) return undefined
    throw error
  }
}
