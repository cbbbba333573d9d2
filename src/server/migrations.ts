import { administratorMigrations } from '../admin/administrators.ts'
import { tokenMigrations } from '../admin/tokens.ts'
import type { LoadedConfig } from '../config.ts'
import type { Migration } from '../core/storage.ts'
import { modules as builtinModules } from '../modules.ts'
import { accountMigrations } from '../storage/account-store.ts'
import { domainMigrations } from '../storage/domain-store.ts'
import { fenceMigrations } from '../storage/fences.ts'
import { importModule } from './module-choice.ts'

/** Of the tables that every server has. */
export const coreMigrations: readonly Migration[] = [
  ...accountMigrations,
  ...tokenMigrations,
  ...administratorMigrations,
  ...domainMigrations,
  ...fenceMigrations,
]

/** Of all modules there are, whether they are switched on or not. */
export async function allMigrations(loaded: LoadedConfig): Promise<readonly Migration[]> {
  const migrations = [...coreMigrations]
  for (const module of builtinModules) migrations.push(...(module.migrations ?? []))
  for (const { from } of loaded.config.modules.values()) {
    if (from !== undefined) migrations.push(...((await importModule(from)).migrations ?? []))
  }
  return [...new Map(migrations.map((migration) => [migration.name, migration])).values()]
}
