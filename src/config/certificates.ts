import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { asciiDomain, certificateProblem } from '../connection/tls.ts'
import { nearest } from './near.ts'
import { whyUnusable } from './paths.ts'
import type { Path } from './positions.ts'
import { didYouMean, type Placed, type Problem } from './problems.ts'
import type { CertificateFiles, FileSettings } from './schema.ts'

type Tls = FileSettings['tls']
type Pair = { readonly certificate?: string | undefined; readonly key?: string | undefined }

/** Domains that get a certificate signed by themselves: no authority vouches for them. */
const SELF_SIGNED = new Set(['localhost'])

/** Where to look for the certificates of domains that are not in the file; absolute. */
export type OtherCertificates = {
  /** Has files `DOMAIN.pem`. */
  readonly directory: string | undefined
  readonly shared: CertificateFiles | undefined
}

export function otherCertificates(tls: Tls, base: string): OtherCertificates {
  const { directory, certificate, key } = tls
  const isShared = certificate !== undefined && key !== undefined
  return {
    directory: directory === undefined ? undefined : resolve(base, directory),
    shared: isShared
      ? { certificate: resolve(base, certificate), key: resolve(base, key) }
      : undefined,
  }
}

/** What such a domain has; `undefined` if nothing is there for it. */
export function otherCertificate(
  domain: string,
  { directory, shared }: OtherCertificates,
): CertificateFiles | undefined {
  const own = directory && join(directory, `${asciiDomain(domain)}.pem`)
  return own !== undefined && existsSync(own) ? { certificate: own, key: own } : shared
}

/** The files of each domain that has some, absolute. */
export function certificateFiles(
  tls: Tls,
  { domains, directory }: { readonly domains: readonly string[]; readonly directory: string },
): ReadonlyMap<string, CertificateFiles> {
  const files = new Map<string, CertificateFiles>()
  for (const domain of domains) {
    const own = tls.domains[domain]
    if (own === undefined) {
      const found = otherCertificate(domain, otherCertificates(tls, directory))
      if (found !== undefined) files.set(domain, found)
      continue
    }
    const { certificate, key } = own
    if (certificate === undefined || key === undefined) continue
    files.set(domain, {
      certificate: resolve(directory, certificate),
      key: resolve(directory, key),
    })
  }
  return files
}

/** Certificates that belong to no domain of ours, and domains that have none but need one. */
export function* certificateGaps(
  tls: Tls,
  {
    domains,
    directory,
    needed,
  }: {
    readonly domains: readonly Placed<string>[]
    readonly directory: string
    readonly needed: boolean
  },
): Generator<Problem> {
  const others = otherCertificates(tls, directory)
  const names = domains.map(([, domain]) => domain)
  for (const name of Object.keys(tls.domains)) {
    if (names.includes(name)) continue
    const near = didYouMean(nearest(name, names))
    const text = `found a certificate for a domain that is not in "domains"${near}`
    yield { path: ['tls', 'domains', name], text }
  }
  if (!needed) return
  for (const [index, domain] of domains) {
    const pair = tls.domains[domain] ?? tls
    if (SELF_SIGNED.has(domain) || pair.certificate !== undefined || pair.key !== undefined)
      continue
    if (tls.domains[domain] === undefined && otherCertificate(domain, others) !== undefined)
      continue
    const keys = `"certificate" and "key" in [tls] or [tls.domains.${JSON.stringify(domain)}]`
    yield { path: ['domains', index], text: `${domain} has no certificate, expected ${keys}` }
  }
}

type Finding = Problem & { readonly isWarning: boolean }

/** Reads each certificate with its key, and looks whether they fit together and their domains. */
export function* certificateFindings(
  tls: Tls,
  { domains, directory }: { readonly domains: readonly string[]; readonly directory: string },
): Generator<Finding> {
  const shared = domains.filter((domain) => tls.domains[domain] === undefined)
  yield* pairFindings(tls, { path: ['tls'], domains: shared, directory })
  for (const [domain, pair] of Object.entries(tls.domains)) {
    yield* pairFindings(pair, { path: ['tls', 'domains', domain], domains: [domain], directory })
  }
}

type PairContext = {
  readonly path: Path
  readonly domains: readonly string[]
  readonly directory: string
}

function* pairFindings(pair: Pair, { path, domains, directory }: PairContext): Generator<Finding> {
  const wrong = (key: string, text: string) => ({ path: [...path, key], text, isWarning: false })
  const strange = (key: string, text: string) => ({ path: [...path, key], text, isWarning: true })

  const certificate = read(pair.certificate, {
    directory,
    parse: (pem) => new X509Certificate(pem),
  })
  const key = read(pair.key, { directory, parse: createPrivateKey })
  if (certificate.error) {
    yield wrong('certificate', `${certificate.error}, expected a PEM file with the certificate`)
  }
  if (key.error) yield wrong('key', `${key.error}, expected a PEM file with an unencrypted key`)
  if (pair.certificate !== undefined && pair.key === undefined) {
    yield wrong('key', 'missing, expected the private key of the certificate')
  }
  if (pair.key !== undefined && pair.certificate === undefined) {
    yield wrong('certificate', 'missing, expected the certificate of the key')
  }
  if (!certificate.value) return
  if (key.value && !certificate.value.checkPrivateKey(key.value)) {
    yield wrong('key', `found ${JSON.stringify(pair.key)}, expected the key of ${pair.certificate}`)
  }
  for (const domain of domains) {
    const problem = certificateProblem(certificate.value, domain, Date.now())
    if (problem !== undefined) yield strange('certificate', `${problem}; clients will refuse it`)
  }
}

/** The file of those who vouch for other servers. */
export function* authorityProblems(ca: string | undefined, directory: string): Generator<Problem> {
  const { error } = read(ca, { directory, parse: (pem) => new X509Certificate(pem) })
  if (error === undefined) return
  yield { path: ['s2s', 'ca'], text: `${error}, expected a PEM file with certificates` }
}

type Read<T> = { readonly value?: T; readonly error?: string }

function read<T extends X509Certificate | KeyObject>(
  path: string | undefined,
  { directory, parse }: { readonly directory: string; readonly parse: (pem: Buffer) => T },
): Read<T> {
  if (path === undefined) return {}
  const found = `found ${JSON.stringify(path)}`
  let pem: Buffer
  try {
    pem = readFileSync(resolve(directory, path))
  } catch (error) {
    return { error: `${found}, which ${whyUnusable(error)}` }
  }
  try {
    return { value: parse(pem) }
  } catch {
    return { error: `${found}, which holds something else` }
  }
}
