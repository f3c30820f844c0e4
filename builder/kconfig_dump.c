// One configuration: runs the tree's own `conf --allnoconfig` and then prints every symbol as one line of JSON,
// with the value, dependencies and selects that the same Kconfig parser computed for it.
//
// Linked against the objects of the tree's scripts/kconfig; its conf.c comes along with `main` renamed, its
// preprocess.c with `popen` leading here. Parsing Kconfig runs 130 commands that try the compiler out, which
// takes longer than all the rest; their answers are the same for a tree and a compiler, and are kept.
//
// KCONFIG_HOME names a folder. `environment` in it is what the tree's Makefile exports to Kconfig: written at
// the first run, which the Makefile has to start, and taken from there by all others. `shell/` holds the answers.
// Usage: KCONFIG_HOME=FOLDER KCONFIG_ALLCONFIG=SEED KCONFIG_DUMP=FILE kconfig_dump Kconfig; writes .config here.
//
// Not for: deciding anything. builder/kconfig.py reads the lines.

#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"
#include "lkc.h"

int conf_main(int argc, char **argv);
FILE *remembered_popen(const char *command, const char *mode);

extern char **environ;

static FILE *out;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char *path_of(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", getenv("KCONFIG_HOME"), name) < 0)
		fail("asprintf");
	return path;
}

// Whether a kept answer is the one of this command: the file begins with it.
static bool is_answer_of(FILE *kept, const char *command)
{
	for (const char *c = command;; c++) {
		if (fgetc(kept) != (unsigned char)*c)
			return false;
		if (!*c)
			return true;
	}
}

// The output of a command that a Kconfig file runs: from a file where it was asked before.
FILE *remembered_popen(const char *command, const char *mode)
{
	uint64_t hash = 14695981039346656037u; // FNV-1a
	char *name, *path, *scratch;
	FILE *kept, *asked;
	int c;

	for (const char *at = command; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 1099511628211u;
	if (asprintf(&name, "shell/%016llx", (unsigned long long)hash) < 0)
		fail("asprintf");
	path = path_of(name);
	kept = fopen(path, "r");
	if (kept && is_answer_of(kept, command))
		return kept;
	if (kept)
		fclose(kept);

	asked = popen(command, mode);
	if (!asked)
		return NULL;
	if (asprintf(&scratch, "%s.%d", path, (int)getpid()) < 0)
		fail("asprintf");
	kept = fopen(scratch, "w+");
	if (!kept) // the folder is whole and read-only: a command that no earlier run asked
		return asked;
	fwrite(command, 1, strlen(command) + 1, kept);
	while ((c = fgetc(asked)) != EOF)
		fputc(c, kept);
	pclose(asked);
	if (fflush(kept) || rename(scratch, path))
		fail(path);
	fseek(kept, strlen(command) + 1, SEEK_SET);
	return kept;
}

static void write_environment(const char *path)
{
	FILE *file = fopen(path, "w");

	if (!file)
		fail(path);
	for (char **entry = environ; *entry; entry++)
		fwrite(*entry, 1, strlen(*entry) + 1, file);
	if (fclose(file))
		fail(path);
}

// What is set already has the last word: the seed, the folders and where programs are.
static void read_environment(FILE *file)
{
	char *entry = NULL, *value;
	size_t size = 0;

	while (getdelim(&entry, &size, 0, file) > 0) {
		value = strchr(entry, '=');
		if (!value)
			continue;
		*value = 0;
		setenv(entry, value + 1, 0);
	}
	free(entry);
	fclose(file);
}

static void put_string(const char *text)
{
	fputc('"', out);
	for (const unsigned char *c = (const unsigned char *)(text ?: ""); *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else if (*c < 0x20)
			fprintf(out, "\\u%04x", *c);
		else
			fputc(*c, out);
	}
	fputc('"', out);
}

static const char *tristate_name(tristate value)
{
	return value == yes ? "y" : value == mod ? "m" : "n";
}

static void append(void *data, struct symbol *sym, const char *text)
{
	str_append(data, text);
}

static void put_expr(const struct expr *e)
{
	struct gstr text = str_new();

	expr_print(e, append, &text, E_NONE);
	put_string(str_get(&text));
	str_free(&text);
}

// The operands of a chain of && (or ||), each as [text, value].
static void put_operands(struct expr *e, enum expr_type chain, bool *first)
{
	if (!e)
		return;
	if (e->type == chain) {
		put_operands(e->left.expr, chain, first);
		put_operands(e->right.expr, chain, first);
		return;
	}
	fputs(*first ? "[" : ", [", out);
	*first = false;
	put_expr(e);
	fprintf(out, ", \"%s\"]", tristate_name(expr_calc_value(e)));
}

static void put_chain(const char *key, struct expr *e, enum expr_type chain)
{
	bool first = true;

	fprintf(out, ", \"%s\": [", key);
	put_operands(e, chain, &first);
	fputc(']', out);
}

static void put_symbol(struct symbol *sym)
{
	struct menu *menu = list_first_entry(&sym->menus, struct menu, link);
	struct menu *choice = sym_get_choice_menu(sym);
	struct property *prop;
	bool first = true;

	sym_calc_value(sym);
	fputs("{\"name\": ", out);
	put_string(sym->name);
	fprintf(out, ", \"type\": \"%s\", \"value\": ", sym_type_name(sym->type));
	put_string(sym_get_string_value(sym));
	fputs(", \"file\": ", out);
	put_string(menu->filename);
	fprintf(out, ", \"line\": %d", menu->lineno);

	fputs(", \"prompts\": [", out);
	for_all_prompts(sym, prop) {
		bool first_operand = true;

		fputs(first ? "[" : ", [", out);
		first = false;
		put_string(prop->text);
		fputs(", [", out);
		put_operands(prop->visible.expr, E_AND, &first_operand);
		fputs("]]", out);
	}
	fputc(']', out);

	fputs(", \"defaults\": [", out);
	first = true;
	for_all_defaults(sym, prop) {
		fputs(first ? "[" : ", [", out);
		first = false;
		put_expr(prop->expr);
		fputs(", ", out);
		put_expr(prop->visible.expr);
		fputc(']', out);
	}
	fputc(']', out);

	put_chain("depends", sym->dir_dep.expr, E_AND);
	put_chain("selected_by", sym->rev_dep.expr, E_OR);
	put_chain("implied_by", sym->implied.expr, E_OR);

	prop = sym_get_range_prop(sym);
	if (prop) {
		fputs(", \"range\": [", out);
		put_string(sym_get_string_value(prop->expr->left.sym));
		fputs(", ", out);
		put_string(sym_get_string_value(prop->expr->right.sym));
		fputc(']', out);
	}
	if (choice)
		fprintf(out, ", \"choice\": \"%s:%d\"", choice->filename, choice->lineno);
	fputs("}\n", out);
}

int main(int argc, char **argv)
{
	const char *path = getenv("KCONFIG_DUMP");
	char *words[] = { "conf", "--allnoconfig", "-s", argv[argc - 1], NULL };
	char *kept;
	FILE *environment;
	struct symbol *sym;
	int status;

	if (argc < 2 || !path || !getenv("KCONFIG_HOME") || !getenv("KCONFIG_ALLCONFIG")) {
		fprintf(stderr, "usage: KCONFIG_HOME= KCONFIG_ALLCONFIG= KCONFIG_DUMP= %s Kconfig\n", argv[0]);
		return 2;
	}
	kept = path_of("environment");
	environment = fopen(kept, "r");
	if (environment)
		read_environment(environment);
	else
		write_environment(kept);

	status = conf_main(4, words);
	if (status)
		return status;
	out = fopen(path, "w");
	if (!out)
		fail(path);
	for_all_symbols(sym)
		if (sym->name && sym->type != S_UNKNOWN && !(sym->flags & SYMBOL_CONST) && !list_empty(&sym->menus))
			put_symbol(sym);
	if (fclose(out))
		fail(path);
	return 0;
}
