//! Turns the fields of a struct into parsing, encoding and argument specs; shared by both derives.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Fields, GenericArgument, Ident, PathArguments, Result, Type};

use crate::attributes::{ArgAttributes, KeyAttribute};

/// One field and how it is read.
pub(crate) struct Field {
    pub(crate) ident: Ident,
    ty: Type,
    pub(crate) arg: ArgAttributes,
    pub(crate) key: Option<KeyAttribute>,
    role: Role,
}

enum Role {
    /// Stands at its place.
    Positional,
    /// `bool`: the token is there or not.
    Flag,
    /// `Option<T>` behind a token.
    Tokened(Type),
    /// `Option<T>` where T begins with one of its own tokens.
    OneOf(Type),
    /// `Vec<T>`, each behind the same token.
    Repeated(Type),
}

impl Field {
    pub(crate) fn all(fields: &Fields) -> Result<Vec<Field>> {
        fields.iter().map(Field::read).collect()
    }

    fn read(field: &syn::Field) -> Result<Field> {
        let ident = field
            .ident
            .clone()
            .ok_or_else(|| syn::Error::new_spanned(field, "fields need names: they name the arguments"))?;
        let arg = ArgAttributes::read(&field.attrs)?;
        let role = if is_bool(&field.ty) {
            Role::Flag
        } else {
            match (argument_of(&field.ty, "Option"), argument_of(&field.ty, "Vec")) {
                (Some(inner), _) if arg.oneof => Role::OneOf(inner),
                (Some(inner), _) if arg.token.is_some() => Role::Tokened(inner),
                (_, Some(inner)) if arg.multiple_token => Role::Repeated(inner),
                _ => Role::Positional,
            }
        };
        if matches!(role, Role::Flag) && arg.token.is_none() {
            return Err(syn::Error::new_spanned(field, "a bool argument needs a token"));
        }
        Ok(Field { ident, ty: field.ty.clone(), arg, key: KeyAttribute::read(&field.attrs)?, role })
    }

    fn is_option(&self) -> bool {
        !matches!(self.role, Role::Positional)
    }

    /// The `ArgSpec` literal.
    pub(crate) fn spec(&self) -> TokenStream {
        let overrides = self.arg.overrides(&self.ident);
        let ty = match &self.role {
            Role::Flag => {
                return quote! {
                    ::keystead::command::spec::ArgSpec {
                        optional: true,
                        kind: ::keystead::command::spec::ArgKind::PureToken,
                        #overrides
                        ..::keystead::command::spec::ArgSpec::PLAIN
                    }
                };
            }
            _ => &self.ty,
        };
        quote! {
            ::keystead::command::spec::ArgSpec { #overrides ..<#ty as ::keystead::command::Arg<'_>>::SPEC }
        }
    }

    /// The statement that appends the field's words to `out`.
    pub(crate) fn encode(&self) -> TokenStream {
        let Field { ident, arg, .. } = self;
        if arg.hidden {
            return TokenStream::new();
        }
        let token = arg.token.as_ref().map(|token| quote!(out.push(#token.as_bytes().to_vec());));
        match &self.role {
            Role::Positional => quote!(#token ::keystead::command::Arg::encode(&self.#ident, out);),
            Role::Flag => quote!(if self.#ident { #token }),
            Role::OneOf(_) => quote!(::keystead::command::Arg::encode(&self.#ident, out);),
            Role::Tokened(_) => {
                quote!(if let Some(value) = &self.#ident { #token ::keystead::command::Arg::encode(value, out); })
            }
            Role::Repeated(_) => {
                quote!(for value in &self.#ident { #token ::keystead::command::Arg::encode(value, out); })
            }
        }
    }

    /// The declaration of the local that the option loop fills.
    fn declare(&self) -> TokenStream {
        let Field { ident, ty, .. } = self;
        let initial = match &self.role {
            Role::Positional => return quote!(),
            Role::Flag => quote!(false),
            Role::OneOf(_) | Role::Tokened(_) => quote!(None),
            Role::Repeated(_) => quote!(Vec::new()),
        };
        quote!(let mut #ident: #ty = #initial;)
    }

    /// The arm of the option loop: condition and body.
    fn option_arm(&self) -> TokenStream {
        let Field { ident, arg, .. } = self;
        let token = &arg.token;
        let unless_repeated = arg.once.then(|| quote!(&& !#ident));
        let tokened_value = |inner: &Type| {
            quote! {
                args.next();
                if args.remaining() == 0 {
                    return Err(::keystead::Error::syntax());
                }
                let value = <#inner as ::keystead::command::Arg<'_>>::parse(args)?;
            }
        };
        match &self.role {
            Role::Positional => quote!(),
            Role::Flag => quote! {
                if ::keystead::command::is_token(word, #token) #unless_repeated {
                    args.next();
                    #ident = true;
                    continue;
                }
            },
            Role::Tokened(inner) => {
                let value = tokened_value(inner);
                let unless_repeated = arg.once.then(|| quote!(&& #ident.is_none()));
                let unless_other = arg.without.as_ref().map(|other| {
                    let other = format_ident!("{}", other.value());
                    quote!(&& #other.is_none())
                });
                quote! {
                    if ::keystead::command::is_token(word, #token) #unless_repeated #unless_other {
                        #value
                        #ident = Some(value);
                        continue;
                    }
                }
            }
            Role::Repeated(inner) => {
                let value = tokened_value(inner);
                quote! {
                    if ::keystead::command::is_token(word, #token) {
                        #value
                        #ident.push(value);
                        continue;
                    }
                }
            }
            Role::OneOf(inner) => {
                let unless_repeatable = (!arg.last_counts).then(|| {
                    quote! {
                        if #ident.as_ref().is_some_and(|before: &#inner| !before.may_repeat(&value)) {
                            return Err(::keystead::Error::syntax());
                        }
                    }
                });
                quote! {
                    if <#inner as ::keystead::command::Arg<'_>>::begins(word) {
                        let value = <#inner as ::keystead::command::Arg<'_>>::parse(args)?;
                        #unless_repeatable
                        #ident = Some(value);
                        continue;
                    }
                }
            }
        }
    }

    fn parse_positional(&self, missing_is_syntax_error: bool) -> TokenStream {
        let Field { ident, ty, arg, .. } = self;
        let token = arg.token.as_ref().map(|token| {
            quote! {
                if !args.skip_token(#token) {
                    return Err(::keystead::Error::syntax());
                }
            }
        });
        let is_optional = argument_of(ty, "Option").is_some();
        let check = (missing_is_syntax_error && !is_optional).then(|| {
            quote! {
                if args.remaining() == 0 {
                    return Err(::keystead::Error::syntax());
                }
            }
        });
        quote! {
            #token
            #check
            let #ident = <#ty as ::keystead::command::Arg<'_>>::parse(args)?;
        }
    }
}

/// Statements that read all fields into locals of their names.
pub(crate) fn parse_fields(fields: &[Field], missing_is_syntax_error: bool) -> TokenStream {
    let mut statements = TokenStream::new();
    let mut rest = fields;
    while let Some(first) = rest.first() {
        if !first.is_option() {
            statements.extend(first.parse_positional(missing_is_syntax_error));
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|field| !field.is_option()).unwrap_or(rest.len());
        let (options, behind) = rest.split_at(end);
        let declarations = options.iter().map(Field::declare);
        let arms = options.iter().map(Field::option_arm);
        let label = format_ident!("options");
        let label = syn::Lifetime::new(&format!("'{label}"), proc_macro2::Span::call_site());
        statements.extend(quote! {
            #(#declarations)*
            #label: while let Some(word) = args.peek() {
                #(#arms)*
                break #label;
            }
        });
        rest = behind;
    }
    statements
}

/// Calls `visit` for the keys of every field.
pub(crate) fn visit_keys(fields: &[Field]) -> TokenStream {
    let visits =
        fields.iter().filter(|field| !field.arg.hidden && !matches!(field.role, Role::Flag)).map(|field| {
            let ident = &field.ident;
            quote!(::keystead::command::Arg::each_key(&self.#ident, visit);)
        });
    quote!(#(#visits)*)
}

fn is_bool(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident("bool"))
}

/// `T` of `wrapper<T>`.
fn argument_of(ty: &Type, wrapper: &str) -> Option<Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner.clone()),
        _ => None,
    }
}
