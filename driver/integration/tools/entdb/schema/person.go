// Package schema is what ent's code in the folder above is generated from.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/dialect"
	"entgo.io/ent/schema/edge"
	"entgo.io/ent/schema/field"
	"github.com/google/uuid"
	"github.com/lib/pq"
)

// A Person has a boss, staff and friends: every kind of edge, in one entity, for
// ent generates thousands of lines for each.
type Person struct{ ent.Schema }

// Fields are one of each kind that PostgreSQL and ent see differently.
func (Person) Fields() []ent.Field {
	return []ent.Field{
		field.UUID("id", uuid.UUID{}).Default(uuid.New),
		field.String("name").Unique(),
		field.String("bio").Optional().Nillable(),
		field.Bytes("photo").Optional(),
		field.String("pay").SchemaType(postgres("numeric(20,8)")).Default("0"), // no float in between
		field.Other("tags", pq.StringArray{}).SchemaType(postgres("text[]")).Optional(),
		field.JSON("extra", map[string]any{}).Optional(),
		field.Time("born"),
	}
}

// Edges are one-to-many with its inverse, and many-to-many.
func (Person) Edges() []ent.Edge {
	return []ent.Edge{
		edge.To("staff", Person.Type).From("boss").Unique(),
		edge.To("friends", Person.Type),
	}
}

func postgres(column string) map[string]string { return map[string]string{dialect.Postgres: column} }
