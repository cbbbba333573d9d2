import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Certificate } from './target.ts'

/** A self-signed certificate for `localhost` with a key on P-256, made at the first call. */
export function certificateIn(directory: string): Certificate {
  const certificate = join(directory, 'certificate.pem')
  const key = join(directory, 'key.pem')
  if (!existsSync(certificate)) {
    const options = [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
      ...['-days', '30', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
      ...['-keyout', key, '-out', certificate],
    ]
    execFileSync('openssl', options, { stdio: 'pipe' })
  }
  return { certificate, key }
}
