import { randomBytes } from 'node:crypto'
import type { Storage } from '../core/storage.ts'

/** 32 random bytes under a name, made when first asked for: the same ever after, and for all processes. */
export async function storedSecret(storage: Storage, name: string): Promise<Uint8Array> {
  // Whoever comes first decides.
  await storage.write(
    'insert into secret (name, value) values (?, ?) on conflict (name) do nothing',
    [name, randomBytes(32)],
  )
  const { value } = await storage.db
    .selectFrom('secret')
    .select('value')
    .where('name', '=', name)
    .executeTakeFirstOrThrow()
  return value
}
