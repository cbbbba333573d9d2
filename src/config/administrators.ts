import type { ModuleSettings } from './modules.ts'
import type { Problem } from './problems.ts'
import type { FileSettings } from './schema.ts'

type Sections = { readonly [Key in 'admin' | 'auth']: FileSettings[Key] | undefined }

/**
 * Where strangers register accounts, whoever is first has the name of an administrator that is not
 * registered yet, and gives every command.
 */
export function* administratorWarnings(
  { admin, auth }: Sections,
  modules: ReadonlyMap<string, ModuleSettings>,
): Generator<Problem> {
  if (!auth?.registration) return
  const { reserved = [] } = Object(modules.get('register')?.settings)
  for (const [index, { local, full }] of (admin?.jids ?? []).entries()) {
    if ((reserved as readonly string[]).includes(local)) continue
    const text = `strangers may register ${full}, and with it give every command, until somebody has; "reserved" in [modules.register] keeps names from them`
    yield { path: ['admin', 'jids', index], text }
  }
}
