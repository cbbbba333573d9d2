import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type CertificateOptions,
  type Credential,
  makeCertificate,
} from '../../src/connection/certificate.ts'
import { makeSelfSigned } from '../../src/connection/self-signed.ts'

const HOUR_MS = 3_600_000

type Wishes = Partial<CertificateOptions>

/** An authority that only the tests trust. */
export function makeAuthority(name = 'Friar Laurence'): Credential {
  const now = Date.now()
  return makeCertificate({
    name,
    from: now - HOUR_MS,
    until: now + HOUR_MS,
    isAuthority: true,
  })
}

/** A certificate for `domain` that `issuer` vouches for; its own word without one. */
export function makeDomainCertificate(
  domain: string,
  issuer: Credential | undefined,
  wishes: Wishes = {},
): Credential {
  const now = Date.now()
  return makeCertificate({
    name: domain,
    from: now - HOUR_MS,
    until: now + HOUR_MS,
    domains: [domain],
    ...(issuer !== undefined && { issuer }),
    ...wishes,
  })
}

/** Path of a PEM file with it in `directory`. */
export async function writePem(
  directory: string,
  name: string,
  { pem }: Pick<Credential, 'pem'>,
): Promise<string> {
  const path = join(directory, `${name}.pem`)
  await writeFile(path, pem)
  return path
}

/** A certificate that nobody vouches for, in the file where a server looks for it. Resolves to its path. */
export async function writeSelfSigned(directory: string, domain: string): Promise<string> {
  return await writePem(directory, domain, { pem: makeSelfSigned(Date.now(), domain) })
}
