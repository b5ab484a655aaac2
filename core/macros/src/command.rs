//! `derive(Command)`: the spec, the parser and the encoder of one command.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, LitStr, Result};

use crate::attributes::{CommandAttributes, summary};
use crate::fields::{Field, parse_fields, visit_keys};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a command is a struct"));
    };
    let attributes = CommandAttributes::read(&input.attrs)?;
    let fields = Field::all(&data.fields)?;
    let ident = &input.ident;
    let lifetime = input.generics.lifetimes().next().map(|_| quote!(<'a>));
    let spec = spec(input, &attributes, &fields)?;
    let names = fields.iter().map(|field| &field.ident);
    let parse = if attributes.custom_parse {
        quote!(Self::parse_args(args))
    } else {
        let statements = parse_fields(&fields, false);
        quote! {
            #statements
            args.finish()?;
            Ok(Self { #(#names),* })
        }
    };
    let encode = fields.iter().map(Field::encode);
    let visit = visit_keys(&fields);
    let words = attributes.name.as_ref().map(LitStr::value).unwrap_or_default();
    let words: Vec<&str> = words.split('|').collect();
    let name_words = words.len();
    let run = run(input, &attributes);
    Ok(quote! {
        impl<'a> ::keystead::command::Parse<'a> for #ident #lifetime {
            const SPEC: &'static ::keystead::command::spec::Spec = &#spec;
            const NAME_WORDS: usize = #name_words;
            const RUN: ::keystead::command::run::Run = #run;

            #[inline]
            #[allow(unused_variables, reason = "a command without arguments reads nothing")]
            fn parse(args: &mut ::keystead::command::Args<'a>) -> ::keystead::Result<Self> {
                #parse
            }

            fn encode(&self) -> ::keystead::command::Argv {
                #[allow(unused_mut, reason = "as above")]
                let mut words = vec![#(#words.as_bytes().to_vec()),*];
                #[allow(unused_variables, reason = "as above")]
                let out = &mut words;
                #(#encode)*
                words
            }

            #[inline]
            #[allow(unused_variables, reason = "as above")]
            fn each_key(&self, visit: &mut dyn FnMut(&::keystead::keyspace::Key<'a>)) {
                #visit
            }
        }
    })
}

fn spec(input: &DeriveInput, attributes: &CommandAttributes, fields: &[Field]) -> Result<TokenStream> {
    let need = |what: &str| Error::new_spanned(&input.ident, format!("#[command({what} = ...)] is missing"));
    let name = attributes.name.as_ref().ok_or_else(|| need("name"))?;
    let lower = name.value().to_lowercase();
    let group = attributes.group.as_ref().ok_or_else(|| need("group"))?;
    let since = attributes.since.as_ref().ok_or_else(|| need("since"))?;
    let complexity = attributes.complexity.as_ref().ok_or_else(|| need("complexity"))?;
    let arity = attributes.arity.as_ref().ok_or_else(|| need("arity"))?;
    let reply = attributes.reply.as_ref().ok_or_else(|| need("reply"))?;
    let summary = summary(&input.attrs);
    if summary.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            "the doc comment is missing: it is the command's manual",
        ));
    }
    let CommandAttributes { flags, acl, tips, whole_keyspace, outside, container, .. } = attributes;
    let history = attributes.history.iter().map(|(version, change)| quote!((#version, #change)));
    let deprecated = match &attributes.deprecated {
        Some((since, instead)) => quote!(Some((#since, #instead))),
        None => quote!(None),
    };
    let first_argument = 1 + name.value().matches('|').count();
    let keys = fields.iter().enumerate().filter_map(|(index, field)| {
        let position = first_argument + index;
        field.key.as_ref().map(|key| key.spec(quote!(#position)))
    });
    let secrets = match &attributes.secrets {
        Some(secrets) => quote!(#secrets),
        None => quote!(::keystead::command::spec::nothing_secret),
    };
    let extra_keys = &attributes.extra_keys;
    let args = fields.iter().filter(|field| !attributes.no_args && !field.arg.hidden).map(Field::spec);
    Ok(quote! {
        ::keystead::command::spec::Spec {
            name: #lower,
            summary: #summary,
            since: #since,
            group: ::keystead::command::spec::Group::#group,
            complexity: #complexity,
            arity: #arity,
            flags: ::keystead::command::spec::Flags::NONE #(.with(::keystead::command::spec::Flags::#flags))*,
            extra_categories: ::keystead::command::spec::Categories::NONE
                #(.with(::keystead::command::spec::Categories::#acl))*,
            tips: &[#(#tips),*],
            keys: &[#(#keys,)* #(#extra_keys,)*],
            args: &[#(#args),*],
            history: &[#(#history),*],
            deprecated: #deprecated,
            reply: #reply,
            secrets: #secrets,
            whole_keyspace: #whole_keyspace,
            outside: #outside,
            container: #container,
        }
    })
}

/// The function that parses and executes, chosen by the flags: they can't lie about the access that `execute` gets.
fn run(input: &DeriveInput, attributes: &CommandAttributes) -> TokenStream {
    let ident = &input.ident;
    let elided = input.generics.lifetimes().next().map(|_| quote!(::<'_>));
    let has = |flag: &str| attributes.flags.iter().any(|own| own == flag);
    let function = if attributes.container && !attributes.session {
        return quote!(::keystead::command::run::container);
    } else if attributes.session {
        quote!(session)
    } else if has("BLOCKING") && (has("WRITE") || has("READONLY")) {
        return quote!(|context, argv, reply| {
            ::keystead::command::block::block::<#ident #elided>(context, argv, reply, |db, argv, reply| {
                ::keystead::command::block::again::<#ident #elided>(db, argv, reply)
            })
        });
    } else if has("WRITE") {
        quote!(write)
    } else if has("READONLY") {
        quote!(read)
    } else {
        quote!(session)
    };
    quote!(|context, argv, reply| ::keystead::command::run::#function::<#ident #elided>(context, argv, reply))
}
