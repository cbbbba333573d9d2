import { accessSync, constants } from 'node:fs'
import { resolve } from 'node:path'
import type { Listeners } from './listeners.ts'
import { whyUnusable } from './paths.ts'
import type { Problem } from './problems.ts'
import type { FileSettings } from './schema.ts'

type Settings = NonNullable<FileSettings['cluster']>

/** With absolute paths. */
export function clusterFiles(settings: Settings, directory: string): Settings {
  const absolute = (path: string | undefined) => path && resolve(directory, path)
  const { credentials, tls } = settings
  return {
    ...settings,
    credentials: absolute(credentials),
    tls: tls && {
      ca: absolute(tls.ca),
      certificate: absolute(tls.certificate),
      key: absolute(tls.key),
    },
  }
}

/** What keeps nodes from working together. */
export function* clusterProblems(
  settings: Settings,
  storage: FileSettings['storage'] | undefined,
  directory: string,
): Generator<Problem> {
  if (storage?.url.startsWith('sqlite:')) {
    const text =
      `found ${JSON.stringify(storage.url)}, expected a database that all nodes of the cluster ` +
      'share: "postgres://user@host/database"; move what is there with `meerkat storage copy`'
    yield { path: ['storage', 'url'], text }
  }
  const { node, credentials, tls } = settings
  if (node === '') yield { path: ['cluster', 'node'], text: 'expected a name for this node' }
  const files = [
    [['cluster', 'credentials'], credentials],
    [['cluster', 'tls', 'ca'], tls?.ca],
    [['cluster', 'tls', 'certificate'], tls?.certificate],
    [['cluster', 'tls', 'key'], tls?.key],
  ] as const
  for (const [path, file] of files) {
    if (file === undefined) continue
    try {
      accessSync(resolve(directory, file), constants.R_OK)
    } catch (error) {
      yield { path: [...path], text: `found ${JSON.stringify(file)}, which ${whyUnusable(error)}` }
    }
  }
}

/** What keeps several processes from sharing the work. */
export function* workerProblems(
  listeners: Listeners,
  storage: FileSettings['storage'] | undefined,
): Generator<Problem> {
  if (storage?.url === 'sqlite::memory:') {
    const text = `found "sqlite::memory:", expected a file or a database that all workers share`
    yield { path: ['storage', 'url'], text }
  }
  for (const [kind, all] of Object.entries(listeners)) {
    for (const [place, { port }] of all) {
      if (port !== 0) continue
      const path = ['listen', kind, place, 'port']
      yield { path, text: 'found 0, expected the port that all workers share' }
    }
  }
}
