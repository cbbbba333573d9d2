import { z } from 'zod'
import type { ModuleDeclaration } from './modules.ts'
import { fileSchema, moduleSwitches } from './schema.ts'

export type JsonSchema = z.core.JSONSchema.JSONSchema

/** The configuration file with the settings of these modules, as JSON Schema for editors. */
export function jsonSchema(modules: readonly ModuleDeclaration[]): JsonSchema {
  const file = toJsonSchema(fileSchema)
  const tables: JsonSchema = {
    type: 'object',
    description: fileSchema.shape.modules.description ?? '',
    properties: Object.fromEntries(modules.map((module) => [module.name, tableOf(module)])),
    additionalProperties: { ...toJsonSchema(moduleSwitches), required: ['from'] },
  }
  const properties = { ...file.properties, modules: tables, host: hosts(file, modules) }
  return { $schema: DIALECT, title: 'Meerkat', ...file, properties }
}

/** The same tables for single domains, where nothing is required. */
function hosts(file: JsonSchema, modules: readonly ModuleDeclaration[]): JsonSchema {
  const all = file.properties?.host as JsonSchema
  const one = all.additionalProperties as JsonSchema
  const tables = one.properties?.modules as JsonSchema
  const tableFor = (module: ModuleDeclaration): JsonSchema => {
    const { required: _, ...table } = tableOf(module)
    return table
  }
  const properties = Object.fromEntries(modules.map((module) => [module.name, tableFor(module)]))
  const withTables = { ...one, properties: { modules: { ...tables, properties } } }
  return { ...all, additionalProperties: withTables }
}

const DIALECT = 'https://json-schema.org/draft/2020-12/schema'

/** The module's own settings, and the keys that every module has. */
function tableOf({ name, config }: ModuleDeclaration): JsonSchema {
  const settings = toJsonSchema(config)
  const { properties } = toJsonSchema(moduleSwitches)
  const description = `Settings of the module ${name}.`
  return { description, ...settings, properties: { ...properties, ...settings.properties } }
}

/** As one writes it in the file, before defaults and conversions. */
function toJsonSchema(schema: z.ZodType): JsonSchema & { readonly $schema?: never } {
  const { $schema, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return rest
}
