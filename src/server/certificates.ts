/** Which certificate files the domains have, and reading them. */
import { readFile } from 'node:fs/promises'
import { otherCertificate } from '../config/certificates.ts'
import type { Config } from '../config.ts'
import { ensureSelfSigned } from '../connection/self-signed.ts'
import {
  asciiDomain,
  CertificateError,
  type CertificateFiles,
  type CertificateSet,
  certificateProblem,
  TlsCertificates,
} from '../connection/tls.ts'
import type { Logger } from '../core/log.ts'
import type { Plan } from './plan.ts'
import type { Step } from './step.ts'

/** The files are read again whenever anything changes. */
export async function certificateStep(
  certificates: TlsCertificates,
  plan: Plan,
  log: Logger,
): Promise<Step> {
  const before = certificates.current
  const after = await read(plan)
  const told = new TlsCertificates(after)
  return {
    commit: () => {
      certificates.current = after
    },
    revert: () => {
      certificates.current = before
    },
    finish: async () => {
      if (told.isEmpty) return
      for (const domain of plan.domains) {
        const problem = certificateProblem(told.certificateFor(domain), domain, Date.now())
        if (problem !== undefined) log.warn('certificate_problem', { domain, problem })
      }
    },
  }
}

async function read({ config, domains }: Plan): Promise<CertificateSet | undefined> {
  const listening = Object.values(config.listen).flat()
  if (listening.every(({ tls }) => tls === 'none')) return undefined
  const byFile = new Map<string, CertificateFiles & { readonly domains: string[] }>()
  for (const domain of domains) {
    const files = await filesOf(domain, config)
    const known = byFile.get(files.certificate) ?? { ...files, domains: [] }
    known.domains.push(domain)
    byFile.set(files.certificate, known)
  }
  return await TlsCertificates.read([...byFile.values()], { ca: await authoritiesOf(config) })
}

/** PEM of those who vouch for other servers, where not those that Node.js knows. */
export async function authoritiesOf({ s2s }: Config): Promise<Buffer | undefined> {
  return s2s?.ca === undefined ? undefined : await readFile(s2s.ca)
}

async function filesOf(domain: string, config: Config): Promise<CertificateFiles> {
  const { certificates, otherCertificates, data_dir } = config
  const known = certificates.get(domain) ?? otherCertificate(domain, otherCertificates)
  if (known !== undefined) return known
  if (domain === 'localhost') return await selfSigned(data_dir)
  const { directory } = otherCertificates
  const expected =
    directory === undefined
      ? '[tls] with "directory", or "certificate" and "key"'
      : `${directory}/${asciiDomain(domain)}.pem`
  throw new CertificateError(`${domain} has no certificate, expected ${expected}`)
}

async function selfSigned(dataDir: string): Promise<CertificateFiles> {
  const path = await ensureSelfSigned(dataDir, Date.now())
  return { certificate: path, key: path }
}
